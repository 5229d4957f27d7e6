package sweep

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/sinter-dl/sinter/hardware/telemetry"
	"github.com/sinter-dl/sinter/internal/process"
	"github.com/sinter-dl/sinter/train/rundir"
)

// Device is what power limits are set by; a *telemetry.Monitor.
type Device interface {
	ReadEnergy() []telemetry.Reading
	SetPowerLimit(uuid string, watts float64) error
}

// Limits changes power limits of devices and puts them back. Before it changes the first
// one of a device it writes down what it was, in a guard file that is on the disk before
// the device hears of it. Restore puts the limit back and then removes the file. Where a
// process does not come to that, because it was killed or crashed, Recover does it, when
// the command is started next.
//
// A driver forgets limits when the machine starts, and so the file is where the system
// forgets files then, if there is such a place.
type Limits struct {
	device Device
	dir    string
	guard  *guard
}

// guard is what a guard file says.
type guard struct {
	PID      int             `json:"pid"`
	Identity process.ID      `json:"process"`
	Time     time.Time       `json:"time"`
	Devices  []guardedDevice `json:"devices"`
}

// guardedDevice is a device whose limit was changed.
type guardedDevice struct {
	UUID  string  `json:"uuid"`
	Model string  `json:"model"`
	Watts float64 `json:"watts"` // before
}

const (
	guardPrefix = "power-limits-"
	guardSuffix = ".json"
)

// Folders are where guard files may be; the first is where this user's are written.
func Folders() []string {
	if dir := os.Getenv("SINTER_RUNTIME_DIR"); dir != "" {
		return []string{dir}
	}
	const system = "/run/sinter" // only root writes there, and may set limits as a rule
	if runtime.GOOS == "linux" && os.Geteuid() == 0 {
		return []string{system}
	}
	var list []string
	if dir, err := os.UserCacheDir(); err == nil {
		list = append(list, filepath.Join(dir, "sinter", "power-limits"))
	}
	if runtime.GOOS == "linux" {
		list = append(list, system)
	}
	return list
}

// NewLimits changes limits of the device's, with guard files in dir.
func NewLimits(device Device, dir string) *Limits { return &Limits{device: device, dir: dir} }

func (l *Limits) name() string {
	return filepath.Join(l.dir, fmt.Sprintf("%s%d%s", guardPrefix, os.Getpid(), guardSuffix))
}

// Set sets the limit of a device, in W. A device whose limit is not known is left alone,
// for it could not be put back, and so is one that another process is at.
func (l *Limits) Set(uuid string, watts float64) error {
	changed := l.guards(uuid)
	if !changed {
		if err := l.remember(uuid); err != nil {
			return err
		}
	}
	err := l.device.SetPowerLimit(uuid, watts)
	if err != nil && !changed { // it is as it was, and who may not change it may not put it back
		err = errors.Join(err, l.forget(uuid))
	}
	return err
}

// guards tells whether the limit of a device is written down.
func (l *Limits) guards(uuid string) bool {
	return l.guard != nil && slices.ContainsFunc(l.guard.Devices, func(d guardedDevice) bool { return d.UUID == uuid })
}

// forget takes back the last remember.
func (l *Limits) forget(uuid string) error {
	rest := slices.DeleteFunc(slices.Clone(l.guard.Devices), func(d guardedDevice) bool { return d.UUID == uuid })
	if len(rest) == 0 {
		l.guard = nil
		return remove(l.name())
	}
	next := *l.guard
	next.Devices = rest
	return l.write(&next)
}

// write replaces the guard file, and forces it to the disk.
func (l *Limits) write(g *guard) error {
	text, err := json.Marshal(g)
	if err == nil {
		err = rundir.WriteFile(l.name(), append(text, '\n'))
	}
	if err == nil {
		l.guard = g
	}
	return err
}

// remember writes down what the limit is.
func (l *Limits) remember(uuid string) error {
	var now *telemetry.Reading
	for _, r := range l.device.ReadEnergy() {
		if r.UUID == uuid {
			now = &r
			break
		}
	}
	switch {
	case now == nil:
		return fmt.Errorf("there is no device with the UUID %q", uuid)
	case !now.PowerLimit.OK || !(now.PowerLimit.V > 0):
		return fmt.Errorf("the power limit of %s is not changed, for what it is now cannot be read: %s", now.Model, now.PowerLimit.Why)
	}
	if err := os.MkdirAll(l.dir, 0o755); err != nil {
		return fmt.Errorf("the power limit of %s is not changed, for it cannot be written down: %w", now.Model, err)
	}
	for _, name := range guards(l.dir) {
		g, err := readGuard(name)
		if err != nil || name == l.name() {
			continue
		}
		for _, d := range g.Devices {
			if d.UUID == uuid {
				return fmt.Errorf("process %d is changing the power limit of %s, or was killed at it; %s says what it was", g.PID, d.Model, name)
			}
		}
	}
	next := &guard{PID: os.Getpid(), Identity: process.Self(), Time: time.Now().UTC()}
	if l.guard != nil {
		next.Devices = append(next.Devices, l.guard.Devices...)
	}
	next.Devices = append(next.Devices, guardedDevice{uuid, now.Model, now.PowerLimit.V})
	if err := l.write(next); err != nil {
		return fmt.Errorf("the power limit of %s is not changed, for it cannot be written down: %w", now.Model, err)
	}
	return nil
}

// Restore puts all limits back. Where that fails the guard file stays, and the error says
// how to do it by hand. To call it again does nothing.
func (l *Limits) Restore() error {
	if l.guard == nil {
		return nil
	}
	if err := putBack(l.device, l.guard); err != nil {
		return err
	}
	l.guard = nil
	return remove(l.name())
}

func putBack(device Device, g *guard) error {
	var errs []error
	for _, d := range g.Devices {
		if err := device.SetPowerLimit(d.UUID, d.Watts); err != nil {
			errs = append(errs, fmt.Errorf("the power limit of %s was %g W and could not be put back: %w; by hand: nvidia-smi -i %s -pl %g", d.Model, d.Watts, err, d.UUID, d.Watts))
		}
	}
	return errors.Join(errs...)
}

// remove removes a guard file for good.
func remove(name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the power limit was put back, and is noted as changed: %w", err)
	}
	return rundir.SyncDir(filepath.Dir(name))
}

func guards(dir string) []string {
	all, _ := filepath.Glob(filepath.Join(dir, guardPrefix+"*"+guardSuffix)) // the pattern is sound
	return all
}

func readGuard(name string) (*guard, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	g := new(guard)
	if err := json.Unmarshal(text, g); err != nil || g.PID <= 0 || len(g.Devices) == 0 {
		return nil, fmt.Errorf("%s is damaged: it should tell what power limits were before a process changed them; if they are what they should be, remove it", name)
	}
	return g, nil
}

// Recover puts back what processes have left that did not come to it. Without guard files,
// as a rule, it looks at a folder and no more; open is called only if a device has to be set,
// and close after that. What is said is what was done, in sentences.
func Recover(folders []string, open func() (device Device, close func() error, err error)) (said []string, err error) {
	var errs []error
	var device Device
	for _, dir := range folders {
		for _, name := range guards(dir) {
			g, err := readGuard(name)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				errs = append(errs, err)
				continue
			}
			if process.Look(g.PID, g.Identity) != process.Gone {
				continue
			}
			if device == nil {
				d, close, err := open()
				if err != nil {
					return said, errors.Join(append(errs, fmt.Errorf("power limits that process %d left changed cannot be put back: %w", g.PID, err))...)
				}
				defer close()
				device = d
			}
			if err := putBack(device, g); err != nil {
				errs = append(errs, fmt.Errorf("process %d was killed while it changed power limits: %w", g.PID, err))
				continue
			}
			if err := remove(name); err != nil {
				errs = append(errs, err)
			}
			var what []string
			for _, d := range g.Devices {
				what = append(what, fmt.Sprintf("%s to %g W", d.Model, d.Watts))
			}
			said = append(said, fmt.Sprintf("put back the power limit of %s, which process %d had changed when it was killed", strings.Join(what, ", "), g.PID))
		}
	}
	return said, errors.Join(errs...)
}
