package process

import (
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// here is what all processes that can be seen from this one have in common.
func here() ID {
	var id ID
	id.Host, _ = os.Hostname()
	if text, err := os.ReadFile("/proc/sys/kernel/random/boot_id"); err == nil {
		id.Boot = strings.TrimSpace(string(text))
	}
	id.Space, _ = os.Readlink("/proc/self/ns/pid")
	return id
}

// Of identifies a process that is there. What cannot be told of it is left out, and the
// error says why.
func Of(pid int) (id ID, err error) {
	id = here()
	_, id.Start, err = stat(pid)
	return id, err
}

// Look tells how a process is that once had this number and this ID.
func Look(pid int, id ID) Condition {
	now := here()
	switch {
	case now.Host != id.Host && now.Boot != id.Boot: // a folder that machines share
		return Hidden
	case now.Boot != id.Boot:
		return Gone
	case now.Space != id.Space:
		return Hidden
	}
	state, start, err := stat(pid)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Gone
	case err != nil:
		return Hidden
	case start != id.Start, state == "Z", state == "X":
		return Gone
	case state == "T":
		return Halted
	}
	return Running
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
