package recipe

import (
	"errors"
	"fmt"
	"strings"

	"github.com/sinter-dl/sinter"
)

// UseDevice is sinter.SetDevice for a name that was given at some place, "--device" or in
// a recipe. A name of what is not there is a *UsageError.
func UseDevice(place, name string) error {
	err := sinter.SetDevice(name)
	var missing *sinter.NoDeviceError
	switch {
	case !errors.As(err, &missing):
		return err
	case missing.Problem == "":
		return usage(place, "there is no device %q%s", name, Suggest(name, missing.Devices))
	}
	return usage(place, "%s", strings.TrimPrefix(missing.Error(), "sinter: "))
}

// device uses the recipe's device, if it names one, and tells what has to be known of the
// one in use.
func (r *Recipe) device() (notes []string, err error) {
	if r.Device != "" {
		if err := UseDevice(r.place("device"), r.Device); err != nil {
			return nil, err
		}
	}
	d, err := sinter.Device()
	if err != nil {
		return nil, err
	}
	if why := sinter.DeviceReason(); why != "" {
		notes = append(notes, fmt.Sprintf("computing on %s (%s): %s", d.Name, d.Model, why))
	} else if d.Name != "cpu" {
		notes = append(notes, fmt.Sprintf("computing on %s (%s)", d.Name, d.Model))
	}
	return notes, nil
}
