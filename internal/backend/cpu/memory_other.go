//go:build !linux

package cpu

func alloc(n int) (*buffer, error) { return goAlloc(n), nil }
