#!/usr/bin/env bash
# Runs Sinter and GoMLX on the same two networks in turns (ours, theirs, ours,
# theirs, …), so that whatever else the machine does falls on both, and prints the
# median of each and the ratio.
#
#   bench/run.sh              five rounds of mlp and cnn
#   ROUNDS=3 bench/run.sh mlp
#
# GoMLX is built twice: as `go build` gives it, and on amd64 with
# GOEXPERIMENT=simd, its fast way. Its module is downloaded by the first run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

rounds=${ROUNDS:-5}
models=("$@")
[ ${#models[@]} -gt 0 ] || models=(mlp cnn)

bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
export CGO_ENABLED=0
echo "building"
go build -o "$bin/sinter" ./steps
(cd gomlx && go build -o "$bin/gomlx" .)
sides=(sinter gomlx)
if [ "$(go env GOARCH)" = amd64 ]; then
	(cd gomlx && GOEXPERIMENT=simd go build -o "$bin/gomlx-simd" .)
	sides+=(gomlx-simd)
fi

# median of the first column of a file
median() {
	sort -n "$1" | awk '{ v[NR] = $1 } END { printf "%.2f", (v[int((NR + 1) / 2)] + v[int((NR + 2) / 2)]) / 2 }'
}

for model in "${models[@]}"; do
	echo
	echo "$model: $rounds round(s), GOMAXPROCS=${GOMAXPROCS:-$(getconf _NPROCESSORS_ONLN)}"
	for ((round = 1; round <= rounds; round++)); do
		for side in "${sides[@]}"; do
			line=$("$bin/$side" -model "$model")
			echo "  $round $side: $line"
			echo "$line" >>"$bin/$side.$model"
		done
	done
	ours=$(median "$bin/sinter.$model")
	echo "  median sinter: $ours steps/s"
	for side in "${sides[@]:1}"; do
		theirs=$(median "$bin/$side.$model")
		echo "  median $side: $theirs steps/s; sinter is $(awk "BEGIN { printf \"%.1f\", $ours / $theirs }") times as fast"
	done
done
