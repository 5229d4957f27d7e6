module github.com/sinter-dl/sinter/bench/blas

go 1.26.5

require (
	github.com/ebitengine/purego v0.11.3
	github.com/sinter-dl/sinter v0.0.0
)

replace github.com/sinter-dl/sinter => ../..
