package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sinter-dl/sinter/hardware"
	"github.com/sinter-dl/sinter/hardware/telemetry"
	"github.com/sinter-dl/sinter/internal/codegen/cache"
	"github.com/sinter-dl/sinter/internal/dl/find"
)

// machine is the facts. Each is gathered when the first check asks for it.
type machine struct {
	Options
	ctx       context.Context
	inProcess bool // devices are tried in this process
	cpu       func() (hardware.CPU, error)
	memory    func() (hardware.Memory, error)
	cgroup    func() (hardware.Cgroup, error)
	network   func() ([]hardware.Link, error)
	cards     func() ([]hardware.GPU, error)
	xids      func() ([]hardware.XID, error)
	inventory func() (Inventory, error)
	readings  func() (measured, error)
	volumes   func() []*volume
	try       func(device string) (Trial, error)
}

// measured is what telemetry has to tell.
type measured struct {
	devices  []telemetry.Reading
	problems []string // why there is nothing of one vendor's
}

// probes are questions that no file answers.
type probes struct {
	getenv    func(string) string
	access    func(path string) error                              // whether a device's node can be opened
	write     func(dir string) (bytesPerSecond float64, err error) // how fast a file is written
	installed func() []find.Library                                // libraries, whatever devices want
	zone      func(name string) error                              // whether a time zone is known
	now       func() time.Time
}

func newMachine(ctx context.Context, o Options) *machine {
	inProcess := o.Try == nil
	o.defaults()
	s := o.System
	m := &machine{
		Options: o, ctx: ctx, inProcess: inProcess,
		cpu: sync.OnceValues(s.CPU), memory: sync.OnceValues(s.Memory), cgroup: sync.OnceValues(s.Cgroup),
		network: sync.OnceValues(s.Network), cards: sync.OnceValues(s.GPUs), xids: sync.OnceValues(s.XIDs),
		inventory: within(ctx, o.Limit, "the drivers of devices", o.Inventory),
	}
	ask := within(ctx, o.Limit, "the telemetry of devices", func(context.Context) (measured, error) { return m.measure() })
	m.readings = func() (measured, error) {
		m.inventory() // which has a limit of its own
		return ask()
	}
	m.volumes = sync.OnceValue(m.findVolumes)
	m.try = func(device string) (Trial, error) {
		return within(ctx, o.TryLimit, device, func(ctx context.Context) (Trial, error) { return m.Try(ctx, device) })()
	}
	return m
}

// measure reads the cards. They are called as programs call them, where the drivers tell how.
func (m *machine) measure() (measured, error) {
	inventory, _ := m.inventory()
	names := make(map[string]string)
	for _, d := range inventory.Devices {
		for _, alias := range d.Aliases {
			if _, uuid, ok := strings.Cut(alias, ":"); ok {
				names[uuid] = d.Name
			}
		}
	}
	monitor, err := telemetry.Open(telemetry.Options{Root: m.System.Root, Names: names, Sources: m.Sources})
	if err != nil {
		return measured{}, err
	}
	defer monitor.Close()
	return measured{monitor.Read(), monitor.Problems()}, nil
}

func (o *Options) probe() {
	p := &o.probes
	if p.getenv == nil {
		p.getenv = os.Getenv
	}
	if p.access == nil {
		p.access = access
	}
	if p.write == nil {
		p.write = writeSpeed
	}
	if p.installed == nil {
		p.installed = func() []find.Library { return find.Search(find.Want{}).All() }
	}
	if p.zone == nil {
		p.zone = func(name string) error { _, err := time.LoadLocation(name); return err }
	}
	if o.Folders == nil {
		o.Folders = DefaultFolders()
	}
}

// limited is a check that is cut off if it takes too long: a file system of a server that is
// gone does not answer.
func (m *machine) limited(what, remedy string, f func() []Finding) []Finding {
	list, err := within(m.ctx, m.Limit, what, func(context.Context) ([]Finding, error) { return f(), nil })()
	if errors.As(err, new(*NoAnswerError)) {
		return one(fail("", remedy, "%v", err))
	} else if err != nil {
		return one(skip("", "%v", err))
	}
	return list
}

// access opens a device's node as drivers do.
func access(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err == nil {
		f.Close()
	}
	return err
}

// at is a path of the machine.
func (m *machine) at(path string) string {
	return filepath.Join(m.System.Root+"/", filepath.FromSlash(path))
}

// has tells whether the machine has a file, and text is what is in it.
func (m *machine) has(path string) bool {
	_, err := os.Stat(m.at(path))
	return err == nil
}

func (m *machine) text(path string) (string, error) {
	b, err := os.ReadFile(m.at(path))
	return strings.TrimSpace(string(b)), err
}

// glob is the files of a pattern, as paths of the machine.
func (m *machine) glob(pattern string) []string {
	list, err := filepath.Glob(m.at(pattern))
	if err != nil {
		return nil
	}
	for i := range list {
		list[i] = "/" + strings.TrimLeft(filepath.ToSlash(strings.TrimPrefix(list[i], m.System.Root)), "/")
	}
	return list
}

// contained is what sort of container this is, "" if it is none.
func (m *machine) contained() string {
	g, err := m.cgroup()
	if err != nil || g.Container == "slurm" { // a batch system's limits, and no other file system
		return ""
	}
	return g.Container
}

// of is the cards of a vendor that may compute. What a server's management chip or a virtual
// machine shows its console on is none.
func (m *machine) of(vendor string) []hardware.GPU {
	cards, _ := m.cards()
	return slices.DeleteFunc(slices.Clone(cards), func(g hardware.GPU) bool { return g.Vendor != vendor })
}

// vendors are those whose cards Sinter can use.
var vendors = []string{"nvidia", "amd", "intel"}

// nvidia tells whether there is a card of NVIDIA's, by whatever shows it.
func (m *machine) nvidia() bool {
	if len(m.of("nvidia")) > 0 {
		return true
	}
	inventory, _ := m.inventory()
	for _, d := range inventory.Devices {
		if d.Backend == "cuda" {
			return true
		}
	}
	return false
}

// Folder is a place where something will be written.
type Folder struct {
	Name string // "runs"
	Path string // it need not be there yet
}

// DefaultFolders is where training writes: the current folder, that of runs, that of compiled
// kernels, that of temporary files.
func DefaultFolders() []Folder {
	list := []Folder{{"current folder", "."}, {"runs", "runs"}}
	if dir := cache.Default().Dir(); dir != "" {
		list = append(list, Folder{"kernel cache", dir})
	}
	return append(list, Folder{"temporary files", os.TempDir()})
}

// volume is a file system with the folders that are on it.
type volume struct {
	disk    hardware.Disk
	folders []Folder
	err     error
}

// existing is the nearest folder upward that is there.
func existing(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	for {
		st, err := os.Stat(path)
		switch {
		case err == nil && st.IsDir():
			return path, nil
		case err == nil:
			return "", fmt.Errorf("%s is no folder", path)
		case !errors.Is(err, os.ErrNotExist) || filepath.Dir(path) == path:
			return "", err
		}
		path = filepath.Dir(path)
	}
}

func (m *machine) findVolumes() []*volume {
	var list []*volume
	for _, f := range m.Folders {
		v := &volume{folders: []Folder{f}}
		dir, err := existing(f.Path)
		if err == nil {
			v.folders[0].Path = dir
			v.disk, err = m.System.Disk(dir)
		}
		v.err = err
		same := slices.IndexFunc(list, func(o *volume) bool {
			return v.err == nil && o.err == nil && o.disk.Mount == v.disk.Mount && o.disk.Device == v.disk.Device && o.disk.Total == v.disk.Total
		})
		if same >= 0 {
			list[same].folders = append(list[same].folders, v.folders...)
		} else {
			list = append(list, v)
		}
	}
	return list
}

func (v *volume) names() string {
	var names []string
	for _, f := range v.folders {
		names = append(names, f.Name)
	}
	return strings.Join(names, ", ")
}
