//go:build nogpu

package sinter

import (
	"errors"

	"github.com/sinter-dl/sinter/internal/backend/cpu"
	"github.com/sinter-dl/sinter/internal/device"
)

// backends are the ways to devices.
var backends = []device.Backend{cpu.Backend(), leftOut("cuda"), leftOut("opencl")}

// leftOut is a backend that this program was built without.
type leftOut string

func (b leftOut) Name() string { return string(b) }

func (leftOut) Devices() ([]device.Info, error) {
	return nil, errors.New("this program was built without GPUs (-tags nogpu); build it without that tag")
}

func (b leftOut) Open(string) (device.Device, error) {
	_, err := b.Devices()
	return nil, err
}

func (leftOut) Libraries() []device.Library { return nil }
