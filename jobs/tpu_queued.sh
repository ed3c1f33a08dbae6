#!/bin/bash
# Asks for spot TPUs, which join one sweep when they come and go on when others are taken away. All
# they share is a bucket, which their service account may read and write; zone and project are gcloud's.
#   jobs/tpu_queued.sh 4 --config mainline --workdir gs://BUCKET/runs/mainline
set -euo pipefail
count=$1; shift
printf -v arguments '%q ' "$@"
startup=$(mktemp)
cat >"$startup" <<WORKER
#!/bin/bash
pip install 'jax[tpu]' grokjax
until grokjax sweep --join --figures none $arguments; [ \$? -ne 75 ]; do :; done
WORKER
for i in $(seq "$count"); do
  gcloud compute tpus queued-resources create "grokjax-$i" --node-id "grokjax-$i" \
    --accelerator-type v5litepod-1 --runtime-version v2-alpha-tpuv5-lite --spot \
    --metadata-from-file startup-script="$startup"
done
