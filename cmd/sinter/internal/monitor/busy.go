package monitor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// busy is for how many seconds the threads of the machine have worked since it was started,
// all of them together. On Linux it is the first line of /proc/stat, proc(5): user, nice,
// system, idle, iowait, irq, softirq, steal in hundredths of a second; time of guests is
// part of user's. Stolen time is another machine's work.
func busy(root string) (float64, error) {
	if root == "" && runtime.GOOS != "linux" {
		return nativeBusy()
	}
	name := filepath.Join(root, "/proc/stat")
	text, err := os.ReadFile(name)
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	fields := strings.Fields(line)
	if len(fields) < 8 || fields[0] != "cpu" {
		return 0, fmt.Errorf("%s is not as proc(5) says", name)
	}
	const perSecond = 100 // USER_HZ, the same on all architectures that Go knows
	sum := 0.0
	for i, field := range fields[1:8] {
		ticks, err := strconv.ParseUint(field, 10, 64)
		if err != nil {
			return 0, errors.Join(fmt.Errorf("%s is not as proc(5) says", name), err)
		}
		if i != 3 && i != 4 { // idle, iowait
			sum += float64(ticks)
		}
	}
	return sum / perSecond, nil
}
