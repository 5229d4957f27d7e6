package power

import (
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A counter that root alone may read: the model takes over, and which file, why, and what to do
// is said. The thread gives up root's rights over files for that.
func TestRAPLUnreadable(t *testing.T) {
	m := newMachine(t, rapl(nil))
	m.chmod("sys/class/powercap/intel-rapl:0/energy_uj", 0)
	if syscall.Geteuid() == 0 {
		m.chmod("", 0o755)
		m.chmod("..", 0o755)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		const nobody = 65534
		if err := syscall.Setfsuid(nobody); err != nil {
			t.Fatal(err)
		}
		defer syscall.Setfsuid(0)
	}
	meter := m.open(Options{})
	p := strings.Join(meter.Problems(), "\n")
	for _, want := range []string{"/sys/class/powercap/intel-rapl:0/energy_uj", "CVE-2020-8694", "chmod", "udev", "estimated"} {
		if !strings.Contains(p, want) {
			t.Errorf("problems: %s; want %q", p, want)
		}
	}
	if strings.Contains(p, m.root) {
		t.Errorf("the path is not the machine's: %s", p)
	}
	m.pass(time.Second, 2)
	if p := wantJoules(t, meter, "cpu", 2*280); !p.Estimated {
		t.Errorf("%+v", p)
	}
}
