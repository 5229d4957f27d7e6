package train

import (
	"errors"
	"fmt"

	"github.com/sinter-dl/sinter"
)

// DeviceError is a run that ended because its device can no longer be used by this
// process. What was computed after the last checkpoint is lost with the device's memory; a
// new process can go on from there.
type DeviceError struct {
	Step       int    // the step that was not made, counted from 1
	Checkpoint string // the last one; empty if there is none
	Err        error
}

func (e *DeviceError) Error() string {
	text := fmt.Sprintf("step %d: %v", e.Step, e.Err)
	if e.Checkpoint == "" {
		return text + "; there is no checkpoint, and the weights are lost with the device's memory"
	}
	return text + "; the last checkpoint is " + e.Checkpoint
}

func (e *DeviceError) Unwrap() error { return e.Err }

func lost(err error) bool { return err != nil && errors.As(err, new(*sinter.DeviceLostError)) }

// recovered makes an error of what readers of tensors, which return none, panic with when
// a device is lost or full.
func recovered(err *error) {
	if r := recover(); r != nil {
		e, ok := r.(error)
		if !ok || !lost(e) && !errors.As(e, new(*sinter.MemoryError)) {
			panic(r)
		}
		*err = e
	}
}

// outOfMemory adds to an error that says what holds the memory of a device what would fit
// into it: the same step of smaller batches, or with values computed again.
func (r *fit) outOfMemory(full *sinter.MemoryError, err error) error {
	if full.Free < 0 {
		return err
	}
	f, ferr := r.fitterFor(r.optimizer, r.state.Model, r.loader.Dataset)
	if ferr != nil {
		return err
	}
	defer f.set(f.asked)
	limit := full.Free + full.Variables + full.Results + full.Inputs + full.Programs
	best, _, ferr := f.search(limit)
	switch {
	case ferr != nil:
		return err
	case best.Total() > limit:
		return fmt.Errorf("%w; there is no way to make this step fit: the least it takes is %s of %s", err, bytesOf(best.Total()), bytesOf(limit))
	case best.setting == f.asked:
		return err
	}
	how := fmt.Sprintf("batches of %d, %d of which make a step", best.batch, best.accumulate)
	if best.checkpointing > 0 {
		how += ", with activation checkpointing"
	}
	return fmt.Errorf("%w; what would fit: %s (%s of %s)", err, how, bytesOf(best.Total()), bytesOf(limit))
}
