package telemetry

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/sinter-dl/sinter/internal/dl"
	"github.com/sinter-dl/sinter/internal/dl/find"
	"github.com/sinter-dl/sinter/internal/dl/nvml"
)

// nvidia is the devices that NVML knows.
type nvidia struct {
	ml           *nvml.API
	root         string
	driver, cuda string

	mu      sync.Mutex // of what is below, and of the library's being open
	open    bool
	cards   []*card
	events  nvml.EventSet
	hasXIDs bool
}

// card is a device.
type card struct {
	handle nvml.Device
	same   Reading // what does not change, and is asked once
	xids   []int
	events bool // of its XIDs arrive
	bus    traffic
}

// openNVIDIA is nil with the reason, if there is no NVML that works.
func openNVIDIA(root string) (*nvidia, error) {
	if err := dl.Supported(); err != nil {
		return nil, fmt.Errorf("NVML cannot be asked: %w", err)
	}
	lib, err := find.Search(find.Want{}).Open(find.NVML)
	if err != nil {
		var missing *find.MissingError
		if errors.As(err, &missing) && missing.Library.Path == "" {
			return nil, errors.New("NVML was not found; it comes with NVIDIA's driver, and 'sinter devices' says where it is looked for")
		}
		return nil, err
	}
	ml, err := nvml.New(lib)
	if err != nil {
		return nil, err
	}
	if err := ml.Init(); err != nil {
		return nil, fmt.Errorf("%s: %w", ml.Path(), err)
	}
	n := &nvidia{ml: ml, root: root, open: true}
	n.driver, _ = ml.SystemGetDriverVersion()
	if v, err := ml.SystemGetCudaDriverVersion(); err == nil {
		n.cuda = fmt.Sprintf("%d.%d", v/1000, v%1000/10)
	}
	count, err := ml.DeviceGetCount()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", ml.Path(), err), ml.Shutdown())
	}
	for i := range count {
		n.cards = append(n.cards, n.card(i))
	}
	if n.events, err = ml.EventSetCreate(); err == nil {
		n.hasXIDs = true
		for _, c := range n.cards {
			if c.handle == 0 {
				continue
			}
			if types, err := ml.DeviceGetSupportedEventTypes(c.handle); err == nil && types&nvml.EventXID != 0 {
				c.events = ml.DeviceRegisterEvents(c.handle, nvml.EventXID, n.events) == nil
			}
		}
	}
	return n, nil
}

// card asks for what does not change.
func (n *nvidia) card(i int) *card {
	c := &card{same: Blank("")}
	r := &c.same
	r.Vendor, r.Source = "nvidia", "NVML"
	handle, err := n.ml.DeviceGetHandleByIndex(i)
	if err != nil {
		// It is there, and was lost before we came.
		r.Problem = problem(err)
		r.UUID, r.Model = fmt.Sprintf("unknown %d", i), "an NVIDIA device"
		return c
	}
	c.handle = handle
	ml := n.ml
	if r.Model, err = ml.DeviceGetName(handle); err != nil {
		r.Model = "an NVIDIA device"
	}
	if id, err := ml.DeviceGetPciBusId(handle); err == nil {
		r.PCI = pciAddress(id)
	}
	if r.UUID, err = ml.DeviceGetUUID(handle); err != nil {
		r.UUID = "PCI-" + r.PCI
	}
	if major, minor, err := ml.DeviceGetCudaComputeCapability(handle); err == nil {
		r.Capability = 10*major + minor
	}
	q := &questions{}
	r.PowerDefault = q.milli(ml.DeviceGetPowerManagementDefaultLimit(handle))
	least, greatest, err := ml.DeviceGetPowerManagementLimitConstraints(handle)
	r.PowerMin, r.PowerMax = q.milli(least, err), q.milli(greatest, err)
	r.SlowdownTemperature = q.whole(ml.DeviceGetTemperatureThreshold(handle, nvml.ThresholdSlowdown))
	r.ClockSMMax = q.whole(ml.DeviceGetMaxClockInfo(handle, nvml.ClockSM))
	r.ClockMemoryMax = q.whole(ml.DeviceGetMaxClockInfo(handle, nvml.ClockMemory))
	generation, width, err := ml.DeviceGetMaxPcieLink(handle)
	r.PCIeGenerationMax, r.PCIeWidthMax = q.whole(generation, err), q.whole(width, err)
	return c
}

// pciAddress makes 0000:3b:00.0, as Linux writes it, of NVML's 00000000:3B:00.0.
func pciAddress(id string) string {
	id = strings.ToLower(id)
	if domain, rest, ok := strings.Cut(id, ":"); ok && len(domain) == 8 && strings.HasPrefix(domain, "0000") {
		return domain[4:] + ":" + rest
	}
	return id
}

// questions turns answers into values, and notices when a device is lost.
type questions struct{ lost error }

// value is an answer in units of which there are so many in ours.
func (q *questions) value(v float64, err error) Value {
	if err == nil {
		return Known(v)
	}
	var e *nvml.Error
	if !errors.As(err, &e) {
		return Unknown(err.Error())
	}
	switch e.Return {
	case nvml.NotSupported:
		return Unknown("the device does not tell it")
	case nvml.FunctionNotFound, nvml.ArgumentVersionMismatch:
		return Unknown("the driver is too old to tell it")
	case nvml.NoPermission:
		return Unknown("this user may not ask for it")
	case nvml.GPUIsLost, nvml.Uninitialized, nvml.DriverNotLoaded, nvml.ResetRequired, nvml.GPUNotFound:
		q.lost = err
	}
	return Unknown(err.Error())
}

func (q *questions) whole(v int, err error) Value { return q.value(float64(v), err) }
func (q *questions) milli(v int, err error) Value { return q.value(float64(v)/1e3, err) }

// problem says what is the matter with a device that is lost.
func problem(err error) string {
	var e *nvml.Error
	if errors.As(err, &e) && e.Return == nvml.GPUIsLost {
		return "the device is lost: it has fallen off the bus, or has to be reset"
	}
	return err.Error()
}

// Driver is the driver's version, and the newest CUDA that it serves.
func (n *nvidia) Driver() (driver, cuda string) { return n.driver, n.cuda }

func (n *nvidia) Read(d Detail) []Reading {
	n.mu.Lock()
	defer n.mu.Unlock()
	if d == All && n.open {
		n.listen()
		for _, c := range n.cards {
			if c.handle != 0 {
				c.bus.start(n.ml, c.handle)
			}
		}
	}
	list := make([]Reading, len(n.cards))
	var all sync.WaitGroup
	for i, c := range n.cards {
		all.Go(func() { list[i] = n.read(c, d) })
	}
	all.Wait()
	return list
}

// listen takes the XIDs that have come; it does not wait for any.
func (n *nvidia) listen() {
	for n.hasXIDs {
		e, happened, err := n.ml.EventSetWait(n.events, 0)
		if err != nil || !happened {
			return
		}
		for _, c := range n.cards {
			if c.handle == e.Device && e.Type&nvml.EventXID != 0 {
				c.xids = append(c.xids, int(e.Data))
			}
		}
	}
}

func (n *nvidia) read(c *card, d Detail) Reading {
	r := c.same
	r.Time = time.Now()
	if !n.open {
		r.Problem = "the monitor is closed"
	}
	if r.Problem != "" {
		return lost(r, r.Problem)
	}
	ml, h, q := n.ml, c.handle, &questions{}
	r.Power = q.milli(ml.DeviceGetPowerUsage(h))
	r.PowerLimit = q.milli(ml.DeviceGetEnforcedPowerLimit(h))
	joules, err := ml.DeviceGetTotalEnergyConsumption(h)
	r.Energy = q.value(float64(joules)/1e3, err)
	r.Temperature = q.whole(ml.DeviceGetTemperature(h))
	if current, _, err := ml.DeviceGetMigMode(h); err == nil {
		r.MIG = onOff(current)
	}
	if d == Energy {
		few := Blank("it was not asked for")
		few.identify(r)
		few.Power, few.PowerLimit, few.PowerDefault, few.PowerMin, few.PowerMax, few.Energy = r.Power, r.PowerLimit, r.PowerDefault, r.PowerMin, r.PowerMax, r.Energy
		few.Temperature, few.SlowdownTemperature, few.MIG = r.Temperature, r.SlowdownTemperature, r.MIG
		if q.lost != nil {
			return lost(few, problem(q.lost))
		}
		return few
	}
	gpu, memory, err := ml.DeviceGetUtilizationRates(h)
	r.Utilization, r.MemoryUtilization = q.whole(gpu, err), q.whole(memory, err)
	r.memory(q, ml, h)
	r.MemoryTemperature = Unknown("the device does not tell it")
	if f, err := ml.DeviceGetFieldValues(h, 0, nvml.FieldMemoryTemp); err != nil {
		r.MemoryTemperature = q.value(0, err)
	} else if r.MemoryTemperature = q.value(f[0].Value, f[0].Err); r.MemoryTemperature.V == 0 {
		r.MemoryTemperature = Unknown("the device does not tell it") // boards without the sensor say 0
	}
	r.ClockGraphics = q.whole(ml.DeviceGetClockInfo(h, nvml.ClockGraphics))
	r.ClockSM = q.whole(ml.DeviceGetClockInfo(h, nvml.ClockSM))
	r.ClockMemory = q.whole(ml.DeviceGetClockInfo(h, nvml.ClockMemory))
	if reasons, err := ml.DeviceGetCurrentClocksEventReasons(h); err == nil {
		r.ThrottleKnown = true
		if reasons &^= nvml.ReasonIdle; reasons != 0 {
			r.Throttle = strings.Split(reasons.String(), ", ")
		}
	} else {
		q.value(0, err)
	}
	generation, width, err := ml.DeviceGetCurrPcieLink(h)
	r.PCIeGeneration, r.PCIeWidth = q.whole(generation, err), q.whole(width, err)
	r.PCIeSent, r.PCIeReceived = c.bus.last(q)
	corrected, err := ml.DeviceGetTotalEccErrors(h, false, false)
	r.ECCCorrected = q.value(float64(corrected), err)
	uncorrected, err := ml.DeviceGetTotalEccErrors(h, true, false)
	r.ECCUncorrected = q.value(float64(uncorrected), err)
	if on, _, err := ml.DeviceGetEccMode(h); err == nil {
		r.ECC = onOff(on)
	}
	if on, err := ml.DeviceGetPersistenceMode(h); err == nil {
		r.Persistence = onOff(on)
	}
	r.XIDs, r.XIDsKnown = append([]int(nil), c.xids...), c.events
	r.Processes = n.processes(ml.DeviceGetComputeRunningProcesses(h))
	if r.MIG == "on" {
		r.Slices = n.slices(q, h, r)
	}
	if q.lost != nil {
		return lost(r, problem(q.lost))
	}
	return r
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// identify takes what tells devices apart from another reading.
func (r *Reading) identify(o Reading) {
	r.Device, r.UUID, r.Model, r.Vendor, r.PCI, r.Source, r.Time, r.Capability = o.Device, o.UUID, o.Model, o.Vendor, o.PCI, o.Source, o.Time, o.Capability
}

// lost is the reading of a device that tells nothing any more. Its XIDs stay: they say why.
func lost(r Reading, why string) Reading {
	gone := Blank(why)
	gone.identify(r)
	gone.XIDs, gone.XIDsKnown = r.XIDs, r.XIDsKnown
	gone.Problem = why
	return gone
}

func (r *Reading) memory(q *questions, ml *nvml.API, h nvml.Device) {
	m, err := ml.DeviceGetMemoryInfo(h)
	r.MemoryTotal, r.MemoryUsed, r.MemoryFree = q.value(float64(m.Total), err), q.value(float64(m.Used), err), q.value(float64(m.Free), err)
}

// slices is the MIG devices of a device. They have memory and processes of their own, and share
// power, temperature and clocks.
func (n *nvidia) slices(q *questions, h nvml.Device, whole Reading) []Reading {
	handles, err := n.ml.MigDevices(h)
	if err != nil {
		q.value(0, err)
		return nil
	}
	var list []Reading
	for _, s := range handles {
		r := Blank("a slice does not tell it of itself; see the whole device")
		r.Vendor, r.Source, r.PCI, r.Time, r.Capability, r.MIG = whole.Vendor, whole.Source, whole.PCI, whole.Time, whole.Capability, "slice"
		r.UUID, _ = n.ml.DeviceGetUUID(s)
		r.Model, _ = n.ml.DeviceGetName(s)
		r.memory(q, n.ml, s)
		if gpu, memory, err := n.ml.DeviceGetUtilizationRates(s); err == nil {
			r.Utilization, r.MemoryUtilization = Known(float64(gpu)), Known(float64(memory))
		}
		if v, err := n.ml.DeviceGetTotalEccErrors(s, true, false); err == nil {
			r.ECCUncorrected = Known(float64(v))
		}
		r.Processes = n.processes(n.ml.DeviceGetComputeRunningProcesses(s))
		list = append(list, r)
	}
	return list
}

func (n *nvidia) processes(raw []nvml.Process, err error) []Process {
	if err != nil {
		return nil
	}
	list := make([]Process, len(raw))
	ours := namespace(n.root)
	for i, p := range raw {
		list[i] = Process{PID: int(p.PID), Memory: Known(float64(p.UsedMemory))}
		if p.UsedMemory == nvml.NotAvailable {
			list[i].Memory = Unknown("the driver does not know it")
		}
		if ours {
			name, _ := os.ReadFile(filepath.Join(n.root, "/proc", fmt.Sprint(p.PID), "comm"))
			list[i].Name = strings.TrimSpace(string(name))
		}
	}
	return list
}

// namespace tells whether the numbers of processes that the driver tells mean the same to us:
// not if we are in a container with numbers of its own. The machine's are in the first
// namespace, which has this number always.
func namespace(root string) bool {
	link, err := os.Readlink(filepath.Join(root, "/proc/self/ns/pid"))
	return err != nil || link == "pid:[4026531836]"
}

func (n *nvidia) SetPowerLimit(uuid string, watts float64) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.cards {
		if c.same.UUID != uuid || !n.open {
			continue
		}
		err := n.ml.DeviceSetPowerManagementLimit(c.handle, int(watts*1e3+0.5))
		var e *nvml.Error
		if errors.As(err, &e) && e.Return == nvml.NoPermission {
			return fmt.Errorf("%s: %w", c.same.Model, ErrPermission)
		}
		return err
	}
	return fmt.Errorf("there is no device with the UUID %q", uuid)
}

func (n *nvidia) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.open {
		return nil
	}
	n.open = false
	for _, c := range n.cards {
		c.bus.wait()
	}
	var errs []error
	if n.hasXIDs {
		errs = append(errs, n.ml.EventSetFree(n.events))
	}
	return errors.Join(append(errs, n.ml.Shutdown())...)
}

// traffic measures what goes over the bus. NVML takes 20 ms for each direction, so that it is
// done beside the readings: a reading has what was measured since the one before it, and
// only the first, and one after a long time, waits.
type traffic struct {
	mu             sync.Mutex
	running        chan struct{} // closed when the measurement is through
	at             time.Time     // of the last that is; zero before
	sent, received int           // bytes/s
	err            error
}

// start measures, unless that is under way.
func (t *traffic) start(ml *nvml.API, h nvml.Device) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.running != nil {
		return
	}
	done := make(chan struct{})
	t.running = done
	go func() {
		sent, err := ml.DeviceGetPcieThroughput(h, false)
		received, err2 := ml.DeviceGetPcieThroughput(h, true)
		t.mu.Lock()
		t.sent, t.received, t.err, t.at = sent*1e3, received*1e3, cmp.Or(err, err2), time.Now()
		t.running = nil
		t.mu.Unlock()
		close(done)
	}()
}

// last is what was measured last.
func (t *traffic) last(q *questions) (sent, received Value) {
	t.mu.Lock()
	fresh := time.Since(t.at) < 2*time.Second
	t.mu.Unlock()
	if !fresh {
		t.wait()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return q.whole(t.sent, t.err), q.whole(t.received, t.err)
}

func (t *traffic) wait() {
	t.mu.Lock()
	running := t.running
	t.mu.Unlock()
	if running != nil {
		<-running
	}
}
