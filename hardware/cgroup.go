package hardware

import (
	"errors"
	"math"
	"os"
	"path"
	"strconv"
	"strings"
)

// mount is a line of mountinfo.
type mount struct {
	root, point, kind, device, options string
}

func (s System) mounts() ([]mount, error) {
	text, err := os.ReadFile(s.path("proc/self/mountinfo"))
	if err != nil {
		return nil, err
	}
	var list []mount
	for line := range strings.Lines(string(text)) {
		before, after, ok := strings.Cut(line, " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if !ok || len(left) < 5 || len(right) < 2 {
			continue
		}
		m := mount{root: unescape(left[3]), point: unescape(left[4]), kind: right[0], device: unescape(right[1])}
		if len(right) > 2 {
			m.options = right[2]
		}
		list = append(list, m)
	}
	return list, nil
}

// unescape undoes what mountinfo does to spaces: \040.
func unescape(s string) string {
	for i := 0; i+3 < len(s); i++ {
		if s[i] == '\\' {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				s = s[:i] + string(rune(n)) + s[i+4:]
			}
		}
	}
	return s
}

// Cgroup is the limits of the process's control group and of those around it. Of a limit
// that is set at several of them, the least counts.
func (s System) Cgroup() (Cgroup, error) {
	var c Cgroup
	if !s.files() {
		return c, &UnknownValueError{What: "the control group", Why: "only Linux has them"}
	}
	text, err := os.ReadFile(s.path("proc/self/cgroup"))
	if err != nil {
		return c, unknown("the control group", err)
	}
	mounts, err := s.mounts()
	if err != nil {
		return c, unknown("the control group", err)
	}
	// dir is where a controller of version 1 has its files, or version 2 without a controller,
	// as the path of its mount and the group below it.
	dir := func(controller, group string) (point, rel string, ok bool) {
		for _, m := range mounts {
			first := m.kind == "cgroup" && controller != "" && listed(m.options, controller)
			if first || m.kind == "cgroup2" && controller == "" {
				// Of a mount that shows a part of the tree only, as in a container, the path in
				// /proc/self/cgroup counts from the whole.
				rel, inside := strings.CutPrefix(group, strings.TrimSuffix(m.root, "/"))
				if !inside {
					rel = ""
				}
				return m.point, rel, true
			}
		}
		return "", "", false
	}
	for line := range strings.Lines(string(text)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		controllers, group := parts[1], parts[2]
		if c.Container == "" {
			c.Container = containerOf(group)
		}
		if parts[0] == "0" {
			point, rel, ok := dir("", group)
			if !ok {
				continue
			}
			if c.Version == 0 {
				c.Version = 2
			}
			if c.Path == "" {
				c.Path = group
			}
			s.walk(point, rel, func(read func(string) (string, error)) {
				if t, err := read("memory.max"); err == nil {
					least(&c.MemoryLimit, t)
				}
				if t, err := read("cpu.max"); err == nil {
					quota, period, _ := strings.Cut(t, " ")
					c.quota(quota, period)
				}
				if t, err := read("cpuset.cpus.effective"); err == nil && c.CPUSet == nil {
					c.CPUSet = numbers(t)
				}
				if t, err := read("memory.current"); err == nil && c.MemoryUsed == 0 {
					c.MemoryUsed, _ = strconv.ParseInt(t, 10, 64)
				}
			})
			continue
		}
		for controller := range strings.SplitSeq(controllers, ",") {
			if controller != "memory" && controller != "cpu" && controller != "cpuset" {
				continue
			}
			point, rel, ok := dir(controller, group)
			if !ok {
				continue
			}
			c.Version, c.Path = 1, group
			s.walk(point, rel, func(read func(string) (string, error)) {
				if t, err := read("memory.limit_in_bytes"); err == nil && controller == "memory" {
					least(&c.MemoryLimit, t)
				}
				if t, err := read("memory.usage_in_bytes"); err == nil && c.MemoryUsed == 0 && controller == "memory" {
					c.MemoryUsed, _ = strconv.ParseInt(t, 10, 64)
				}
				if quota, err := read("cpu.cfs_quota_us"); err == nil && controller == "cpu" {
					period, _ := read("cpu.cfs_period_us")
					c.quota(quota, period)
				}
				if t, err := read("cpuset.cpus"); err == nil && c.CPUSet == nil && controller == "cpuset" {
					c.CPUSet = numbers(t)
				}
			})
		}
	}
	for _, mark := range []struct{ file, name string }{
		{"var/run/secrets/kubernetes.io", "kubernetes"}, {"run/secrets/kubernetes.io", "kubernetes"}, {".dockerenv", "docker"}, {"run/.containerenv", "podman"},
	} {
		if _, err := os.Stat(s.path(mark.file)); err == nil && (c.Container == "" || mark.name == "kubernetes") {
			c.Container = mark.name
		}
	}
	return c, nil
}

// listed tells whether a name is in a list with commas.
func listed(list, name string) bool {
	for w := range strings.SplitSeq(list, ",") {
		if w == name {
			return true
		}
	}
	return false
}

// walk calls do for a group and those around it, the innermost first.
func (s System) walk(point, group string, do func(read func(file string) (string, error))) {
	for group = path.Clean("/" + group); ; group = path.Dir(group) {
		do(func(file string) (string, error) {
			if t, err := s.text(point, group, file); err != nil || t != "" {
				return t, err
			}
			return "", errors.New("the file is empty")
		})
		if group == "/" {
			return
		}
	}
}

// least sets a limit if it is less than the one there is. What is not a number, "max", is no
// limit, and neither is what version 1 has without one: the highest number, in pages.
func least(limit *int64, text string) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n <= 0 || n >= math.MaxInt64>>1 {
		return
	}
	if *limit == 0 || n < *limit {
		*limit = n
	}
}

func (c *Cgroup) quota(quota, period string) {
	q, err := strconv.ParseFloat(quota, 64)
	p, err2 := strconv.ParseFloat(period, 64)
	if err != nil || err2 != nil || q <= 0 || p <= 0 {
		return // "max" or -1: none
	}
	if cpus := q / p; c.CPUs == 0 || cpus < c.CPUs {
		c.CPUs = cpus
	}
}

// containerOf tells what made a group by its path.
func containerOf(group string) string {
	for _, mark := range []struct{ part, name string }{
		{"kubepods", "kubernetes"}, {"libpod", "podman"}, {"docker", "docker"}, {"containerd", "containerd"}, {"/lxc", "lxc"}, {"slurm", "slurm"},
	} {
		if strings.Contains(group, mark.part) {
			return mark.name
		}
	}
	return ""
}
