#!/bin/bash
# Asks for spot TPUs: machine i of N trains and measures blocks i, i + N, ... and continues when it comes
# back. All they share is a bucket, which their service account may read and write; zone and project
# are gcloud's.
#   jobs/tpu_queued.sh 4 gs://BUCKET/runs/mainline --config mainline
set -euo pipefail
count=$1 workdir=$2; shift 2
startup=$(mktemp)
for ((i = 0; i < count; i++)); do
  printf -v arguments '%q ' "$workdir" "$i/$count" "$@" --measure
  cat >"$startup" <<WORKER
#!/bin/bash
pip install 'jax[tpu]' grokjax
until grokjax block $arguments; [ \$? -ne 75 ]; do :; done
WORKER
  gcloud compute tpus queued-resources create "grokjax-$i" --node-id "grokjax-$i" \
    --accelerator-type v5litepod-1 --runtime-version v2-alpha-tpuv5-lite --spot \
    --metadata-from-file startup-script="$startup"
done
