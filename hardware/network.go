package hardware

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Network is the interfaces of the machine but the loopback, and the ports of its InfiniBand
// adapters, in the order of their names.
func (s System) Network() ([]Link, error) {
	if !s.files() {
		return nativeNetwork()
	}
	var list []Link
	ports, _ := filepath.Glob(s.path("sys/class/infiniband/*/ports/*"))
	for _, p := range ports {
		device := filepath.Base(filepath.Dir(filepath.Dir(p)))
		dir := filepath.Join("sys/class/infiniband", device, "ports", filepath.Base(p))
		l := Link{Name: device + "/" + filepath.Base(p), Kind: "infiniband", State: "unknown"}
		if layer, err := s.text(dir, "link_layer"); err == nil && layer == "Ethernet" {
			l.Kind = "roce"
		}
		if t, err := s.text(dir, "state"); err == nil { // "4: ACTIVE"
			_, state, ok := strings.Cut(t, ": ")
			if ok {
				l.State = strings.ToLower(state)
			}
			l.Up = l.State == "active"
		}
		if t, err := s.text(dir, "rate"); err == nil { // "400 Gb/sec (4X NDR)"
			gbit, _, _ := strings.Cut(t, " ")
			if v, err := strconv.ParseFloat(gbit, 64); err == nil {
				l.Rate, l.Detail = v*1e9, t
			}
		}
		l.Driver = s.link("sys/class/infiniband", device, "device/driver")
		list = append(list, l)
	}
	entries, err := os.ReadDir(s.path("sys/class/net"))
	if err != nil {
		return list, unknown("the network", err)
	}
	for _, e := range entries {
		dir := filepath.Join("sys/class/net", e.Name())
		kind, err := s.number(dir, "type")
		if err != nil || kind == 772 { // it has gone, or is a loopback
			continue
		}
		l := Link{Name: e.Name(), Kind: "ethernet", State: "unknown", Driver: s.link(dir, "device/driver")}
		exists := func(file string) bool {
			_, err := os.Stat(s.path(dir, file))
			return err == nil
		}
		switch {
		case exists("wireless") || exists("phy80211"):
			l.Kind = "wireless"
		case kind == 32:
			l.Kind = "ipoib" // the port of the adapter has the rate
		case !exists("device"):
			l.Kind = "virtual"
		}
		if state, err := s.text(dir, "operstate"); err == nil {
			l.State = state
			l.Up = state == "up"
		}
		if mbit, err := s.number(dir, "speed"); err == nil && mbit > 0 {
			l.Rate = float64(mbit) * 1e6
		}
		list = append(list, l)
	}
	return list, nil
}

// link is the last part of what a symbolic link points to, "" if there is none.
func (s System) link(elem ...string) string {
	to, err := os.Readlink(s.path(elem...))
	if err != nil {
		return ""
	}
	return filepath.Base(to)
}

// Clock is the machine's, and whether something keeps it right.
func (s System) Clock() Clock {
	c := Clock{Now: time.Now(), Zone: s.zone()}
	ask := s.Synchronised
	if ask == nil {
		ask = nativeSynchronised
		if s.Root != "" {
			ask = func() (bool, error) {
				return false, &UnknownValueError{What: "whether the clock is right", Why: "it stands in no file"}
			}
		}
	}
	var err error
	if c.Synchronised, err = ask(); err != nil {
		c.Why = err.Error()
	}
	return c
}

// zone is the name of the time zone.
func (s System) zone() string {
	if tz := strings.TrimPrefix(os.Getenv("TZ"), ":"); tz != "" && s.Root == "" {
		return tz
	}
	if to, err := os.Readlink(s.path("etc/localtime")); err == nil {
		if _, zone, ok := strings.Cut(filepath.ToSlash(to), "zoneinfo/"); ok {
			return zone
		}
	}
	zone, _ := s.text("etc/timezone")
	return zone
}
