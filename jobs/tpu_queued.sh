#!/bin/bash
# Asks for spot TPUs, which join one sweep when they come and go on when others are taken away.
# SHARE is a file server that all see, as HOST:/PATH; ZONE and PROJECT are gcloud's.
#   SHARE=10.0.0.2:/share jobs/tpu_queued.sh 4 --config mainline --workdir /shared/runs/mainline
set -euo pipefail
count=$1; shift
printf -v arguments '%q ' "$@"
startup=$(mktemp)
cat >"$startup" <<WORKER
#!/bin/bash
mkdir -p /shared && mount -t nfs $SHARE /shared
pip install 'jax[tpu]' grokjax
until grokjax sweep --join --figures none $arguments; [ \$? -ne 75 ]; do :; done
WORKER
for i in $(seq "$count"); do
  gcloud compute tpus queued-resources create "grokjax-$i" --node-id "grokjax-$i" \
    --accelerator-type v5litepod-1 --runtime-version v2-alpha-tpuv5-lite --spot \
    --metadata-from-file startup-script="$startup"
done
