"""Checkpoints: round trips, single runs, kills, other devices, damage."""

import os
import resource

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tensorstore as ts

from grokjax.core.errors import DamagedError
from grokjax.storage import arrays, checkpoints, files

RUNS = 3


def make_params(seed=0, runs=RUNS, width=16):
    keys = jax.random.split(jax.random.key(seed), 3)
    attn = {"W_Q": jax.random.normal(keys[1], (runs, 2, width, 4))}
    mlp = {"b_in": jax.random.normal(keys[2], (runs, 9))}
    W_E = jax.random.normal(keys[0], (runs, 7, width))
    return {"W_E": W_E, "blocks": {"0": {"attn": attn, "mlp": mlp}}}


def make_state(seed=0):
    params = make_params(seed)
    optimizer = jax.vmap(optax.chain(optax.clip(1.0), optax.adamw(1e-3)).init)(params)
    keys = jax.random.split(jax.random.key(seed), RUNS)
    return {"params": params, "optimizer": optimizer, "step": jnp.int32(7), "key": keys}


def assert_same(tree, expected):
    assert jax.tree.structure(tree) == jax.tree.structure(expected)
    for got, want in zip(jax.tree.leaves(tree), jax.tree.leaves(expected), strict=True):
        assert got.dtype == want.dtype
        if jax.dtypes.issubdtype(want.dtype, jax.dtypes.prng_key):
            got, want = jax.random.key_data(got), jax.random.key_data(want)
        np.testing.assert_array_equal(got, want)


def save_params(directory, *steps):
    """Save parameters whose seed is their step."""
    with checkpoints.Writer(directory) as writer:
        for step in steps:
            writer.save_params(step, make_params(step))


def assert_one_run_a_chunk(directory, step):
    for store in arrays.open_stores(files.path(directory) / "trajectory" / str(step)).values():
        assert store.chunk_layout.read_chunk.shape == (1, *store.shape[1:])


# --- Parameters -----------------------------------------------------------------------------------


def test_all_requested_steps_are_kept_when_saves_come_fast(tmp_path):
    directory = tmp_path / "a block, 100%#1"
    steps = (10, *range(100, 106), 3)
    save_params(directory, *steps)
    assert checkpoints.steps(directory) == tuple(sorted(steps))
    for step in steps:
        params = checkpoints.read(directory, step)
        assert_same(params, make_params(step))
        assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(params))


def test_a_step_on_disk_is_not_written_again(tmp_path):
    save_params(tmp_path, 1)
    with checkpoints.Writer(tmp_path) as writer:
        writer.save_params(1, make_params(seed=2))
        writer.save_measures(1, {"loss": jnp.zeros(RUNS)})
        writer.save_measures(1, {"loss": jnp.ones(RUNS)})
    assert_same(checkpoints.read(tmp_path, 1), make_params(1))
    assert checkpoints.measured_steps(tmp_path) == (1,)
    assert_same(checkpoints.read_measures(tmp_path, 1), {"loss": np.zeros(RUNS, np.float32)})


def test_buffers_may_be_donated_right_after_a_save(tmp_path):
    scramble = jax.jit(lambda tree: jax.tree.map(lambda x: x * 2 + 1, tree), donate_argnums=0)
    params = make_params(width=4096)
    expected = jax.device_get(jax.tree.map(jnp.copy, params))
    with checkpoints.Writer(tmp_path) as writer:
        writer.save_params(0, params)
        for _ in range(5):
            params = jax.block_until_ready(scramble(params))
    assert_same(checkpoints.read(tmp_path, 0), expected)


def test_reading_one_run_moves_the_bytes_of_one_run(tmp_path):
    params = make_params(runs=8, width=2048)
    with checkpoints.Writer(tmp_path) as writer:
        writer.save_params(0, params)
    assert_one_run_a_chunk(tmp_path, 0)
    for run in range(8):
        before = bytes_read_from_disk()
        found = checkpoints.read(tmp_path, 0, run)
        one_run = checkpoints.bytes_per_step(params) / 8
        assert one_run / 2 < bytes_read_from_disk() - before < 2 * one_run
        assert_same(found, jax.tree.map(lambda leaf, run=run: leaf[run], params))


def bytes_read_from_disk():
    (metric,) = ts.experimental_collect_matching_metrics("/tensorstore/kvstore/file/bytes_read")
    return sum(value["value"] for value in metric["values"])


def test_bytes_per_step_counts_all_runs():
    params = make_params(runs=2, width=16)
    assert checkpoints.bytes_per_step(params) == 4 * 2 * (7 * 16 + 2 * 16 * 4 + 9)
    assert checkpoints.bytes_per_step(jax.eval_shape(lambda: params)) == 4 * 2 * 249


def test_a_missing_step_or_run_says_what_there_is(tmp_path):
    empty = tmp_path / "block"
    assert checkpoints.is_empty(empty) and checkpoints.identity_of(empty) is None
    assert checkpoints.steps(empty) == checkpoints.state_steps(empty) == ()
    with pytest.raises(ValueError, match="no checkpoint of step 3; it holds none"):
        checkpoints.read(empty, 3)
    save_params(tmp_path, 1, 2, 4)
    assert not checkpoints.is_empty(tmp_path)
    with pytest.raises(ValueError, match="no checkpoint of step 3; it holds 3 from 1 to 4"):
        checkpoints.read(tmp_path, 3)
    for run in (3, -1):
        with pytest.raises(ValueError, match=f"no run {run} in a block of 3 runs"):
            checkpoints.read(tmp_path, 1, run)


# --- States ---------------------------------------------------------------------------------------


def test_a_state_round_trips_with_its_own_types(tmp_path):
    state = make_state()
    with checkpoints.Writer(tmp_path) as writer:
        writer.save_state(40, state)
    for like in (state, jax.eval_shape(make_state)):
        assert_same(checkpoints.restore(tmp_path, 40, like), state)
    as_numpy = checkpoints.restore(tmp_path, 40)
    assert_same(as_numpy["params"], state["params"])
    np.testing.assert_array_equal(as_numpy["key"], jax.random.key_data(state["key"]))
    with pytest.raises(ValueError, match=r"params\.W_E was saved as float32\[3, 7, 16\], expected"):
        checkpoints.restore(tmp_path, 40, {**state, "params": make_params(runs=4)})
    with pytest.raises(ValueError, match=r"another structure: optimizer\."):
        checkpoints.restore(tmp_path, 40, {**state, "optimizer": ()})


@pytest.mark.parametrize(
    ("steps", "kept"), [((10, 20, 30), (20, 30)), ((10, 20, 15), (10, 15)), ((10, 10), (10,))]
)
def test_the_latest_two_states_are_kept_and_later_ones_replaced(tmp_path, steps, kept):
    with checkpoints.Writer(tmp_path) as writer:
        for i, step in enumerate(steps):
            writer.save_state(step, {"x": jnp.full(RUNS, i)})
            writer.save_params(step, make_params())
    assert checkpoints.state_steps(tmp_path) == kept
    assert checkpoints.steps(tmp_path) == tuple(sorted(set(steps)))
    assert checkpoints.restore(tmp_path, steps[-1])["x"][0] == len(steps) - 1


def test_rewound_steps_are_saved_anew(tmp_path):
    with checkpoints.Writer(tmp_path) as writer:
        for step in (0, 1, 10, 20):
            writer.save_params(step, make_params(1))
            writer.save_measures(step, {"loss": jnp.zeros(RUNS)})
    with checkpoints.Writer(tmp_path) as writer:
        writer.rewind(0)
        assert checkpoints.steps(tmp_path) == checkpoints.measured_steps(tmp_path) == (0,)
        for step in (0, 10):
            writer.save_params(step, make_params(2))
    assert checkpoints.steps(tmp_path) == (0, 10)
    assert_same(checkpoints.read(tmp_path, 0), make_params(1))
    assert_same(checkpoints.read(tmp_path, 10), make_params(2))


# --- Damage ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["truncated", "removed"])
@pytest.mark.parametrize("part", ["_METADATA", "manifest.ocdbt", "d/*", "ocdbt.process_0/d/*"])
def test_damage_is_a_one_line_error_that_names_the_step(tmp_path, part, damage):
    with checkpoints.Writer(tmp_path) as writer:
        writer.save_params(8, make_params(width=512))  # values below 1 kB are stored in the index
        writer.save_state(8, make_params(width=512))
    for kind in ("trajectory", "resume"):
        file = max((tmp_path / kind / "8" / "state").glob(part), key=lambda x: x.stat().st_size)
        if damage == "removed":
            file.unlink()
        else:
            os.truncate(file, file.stat().st_size // 2)
    assert len([x for x in checkpoints.damaged(tmp_path) if "step 8 is damaged" in x]) == 2
    for load in (checkpoints.read, checkpoints.restore):
        with pytest.raises(DamagedError, match=r"the checkpoint of step 8 is damaged \(") as error:
            load(tmp_path, 8)
        assert str(tmp_path) in str(error.value)
        assert "\n" not in str(error.value) and len(str(error.value)) < 1000


@pytest.mark.parametrize("change", ["owner", "step", "no owner"])
def test_values_of_another_block_or_step_are_damage(tmp_path, change):
    with checkpoints.Writer(tmp_path, "mine") as writer:
        writer.save_params(8, make_params())
    assert list(checkpoints.damaged(tmp_path)) == [None]
    if change == "step":
        (tmp_path / "trajectory" / "8").rename(tmp_path / "trajectory" / "9")
    elif change == "owner":
        (tmp_path / "identity").write_text("yours\n")
    else:
        (tmp_path / "identity").unlink()
    with pytest.raises(DamagedError, match="is not what was written.*delete"):
        checkpoints.read(tmp_path, checkpoints.steps(tmp_path)[0], run=1)


def test_a_checkpoint_without_checksums_is_damage(tmp_path):
    from orbax.checkpoint import v1 as ocp

    ocp.save(tmp_path / "trajectory" / "8", {"W": np.ones((3, 2))}, checkpointable_name="state")
    with pytest.raises(DamagedError, match="its checksums are missing"):
        checkpoints.read(tmp_path, 8)


def test_a_failed_save_is_raised_once_and_can_be_repeated(tmp_path):
    writer = checkpoints.Writer(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))  # stands in for a full disk
    try:
        writer.save_params(1, make_params(width=4096))
        with pytest.raises(OSError, match="a checkpoint was not saved: .*File too large"):
            writer.wait()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert checkpoints.steps(tmp_path) == ()
    writer.save_params(1, make_params(1))
    writer.wait()
    assert_same(checkpoints.read(tmp_path, 1), make_params(1))


def test_a_folder_that_cannot_be_made_fails_at_once(tmp_path):
    writer = checkpoints.Writer(tmp_path)
    (tmp_path / "trajectory").rmdir()
    (tmp_path / "trajectory").write_text("in the way")
    with pytest.raises(OSError, match="trajectory"):
        writer.save_params(1, make_params())
