//go:build !linux

package pool

import "sync/atomic"

// parker blocks one goroutine on a channel.
type parker struct {
	parked atomic.Int32
	wake   chan struct{}
}

func (k *parker) init() { k.wake = make(chan struct{}, 1) }

// park blocks until unpark, unless news is already true.
func (k *parker) park(news func() bool) {
	k.parked.Store(1)
	if news() && k.parked.CompareAndSwap(1, 0) {
		return
	}
	<-k.wake
}

func (k *parker) unpark() {
	if k.parked.Load() == 1 && k.parked.CompareAndSwap(1, 0) {
		k.wake <- struct{}{}
	}
}
