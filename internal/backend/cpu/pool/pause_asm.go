//go:build amd64 || arm64

package pool

// pause waits for n of the processor's hints that this is a spinning loop.
//
//go:noescape
func pause(n int)
