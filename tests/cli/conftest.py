import pytest


@pytest.fixture
def write(tmp_path):
    def write(text: str, name: str = "tiny.py") -> str:
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return write
