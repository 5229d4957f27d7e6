// Package peer drives the sides of a comparison. A side is a program that waits
// with -serve, as rig.Meter does in Go and bench/torch in Python: it measures once
// for every line that it reads, and answers with a line of JSON.
package peer

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Side is a running program.
type Side struct {
	Name string

	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	stderr strings.Builder
}

// Start starts a side. env is added to the environment of this process.
func Start(name string, env []string, command ...string) (*Side, error) {
	s := &Side{Name: name, cmd: exec.Command(command[0], command[1:]...)}
	s.cmd.Env = append(os.Environ(), env...)
	s.cmd.Stderr = &s.stderr
	in, err := s.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s.in, s.out = in, bufio.NewReader(out)
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return s, nil
}

// Ask sends a line and reads the answer into reply.
func (s *Side) Ask(line string, reply any) error {
	if _, err := fmt.Fprintln(s.in, line); err != nil {
		return s.failed(err)
	}
	return s.Read(reply)
}

// disturbed is the share of a window that a side's threads may wait for a processor,
// and attempts is how often a window in which they waited longer is made again.
const (
	disturbed = 0.04
	attempts  = 4
)

// Measure is Ask for a window. One that other work on the machine has disturbed is
// made again: threads that wait for each other lose far more time than was taken
// from them, and each side a different amount. quiet tells whether the last attempt
// was undisturbed.
func (s *Side) Measure(line string, reply any) (quiet bool, err error) {
	for range attempts {
		began, before := time.Now(), delay(s.cmd.Process.Pid)
		if err := s.Ask(line, reply); err != nil {
			return false, err
		}
		waited := delay(s.cmd.Process.Pid) - before
		if waited.Seconds() <= disturbed*time.Since(began).Seconds() {
			return true, nil
		}
	}
	return false, nil
}

// Read reads an answer that was not asked for: that the side is ready.
func (s *Side) Read(reply any) error {
	line, err := s.out.ReadBytes('\n')
	if err != nil {
		return s.failed(err)
	}
	if err := json.Unmarshal(line, reply); err != nil {
		return fmt.Errorf("%s answered %q: %w", s.Name, line, err)
	}
	return nil
}

// Finish ends the side's input, reads its last answer into reply unless that is nil,
// and waits for its end.
func (s *Side) Finish(reply any) error {
	err := s.in.Close()
	if err == nil && reply != nil {
		err = s.Read(reply)
	}
	if wait := s.cmd.Wait(); err == nil && wait != nil {
		err = s.failed(wait)
	}
	return err
}

// failed ends the side and adds the end of what it wrote to standard error.
func (s *Side) failed(err error) error {
	// Whatever these return, the side was of no use already; Wait is for its output.
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	text := strings.TrimSpace(s.stderr.String())
	if len(text) > 2000 {
		text = "… " + text[len(text)-2000:]
	}
	return fmt.Errorf("%s: %w\n%s", s.Name, err, text)
}
