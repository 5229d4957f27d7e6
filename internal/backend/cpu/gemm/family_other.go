//go:build !amd64

package gemm

func machineLevels() []level { return nil }
