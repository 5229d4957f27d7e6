//go:build !amd64

package conv

var avx512 *Kernels
