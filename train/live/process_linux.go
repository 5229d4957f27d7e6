package live

import (
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// here is what all processes that can be seen from this one have in common.
func here() identity {
	var id identity
	id.Host, _ = os.Hostname()
	if text, err := os.ReadFile("/proc/sys/kernel/random/boot_id"); err == nil {
		id.Boot = strings.TrimSpace(string(text))
	}
	id.Space, _ = os.Readlink("/proc/self/ns/pid")
	return id
}

// self identifies this process.
func self() identity {
	id := here()
	_, id.Start, _ = stat(os.Getpid())
	return id
}

// look tells how a process is that once had this number and this identity.
func look(pid int, id identity) condition {
	now := here()
	switch {
	case now.Host != id.Host && now.Boot != id.Boot: // a folder that machines share
		return hidden
	case now.Boot != id.Boot:
		return gone
	case now.Space != id.Space:
		return hidden
	}
	state, start, err := stat(pid)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return gone
	case err != nil:
		return hidden
	case start != id.Start, state == "Z", state == "X":
		return gone
	case state == "T":
		return halted
	}
	return running
}

// stat is the state of a process and when it started, in the kernel's ticks since boot:
// fields 3 and 22 of /proc/PID/stat, proc(5). The second field is the program's name in
// brackets, which may hold anything.
func stat(pid int) (state, start string, err error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return "", "", err
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 20 {
		return "", "", errors.New("/proc/PID/stat is not as proc(5) says")
	}
	return fields[0], fields[19], nil
}
