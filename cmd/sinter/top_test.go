package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sinter-dl/sinter/internal/dl/nvml/nvmltest"
	"github.com/sinter-dl/sinter/internal/testenv"
)

// training is a run that trains into dir/run until it is ended; its files of status are
// this test's own. It has made steps.
func training(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	t.Setenv("SINTER_RUNTIME_DIR", filepath.Join(dir, "runtime"))
	mnistLike(t, filepath.Join(dir, "d"))
	c := exec.Command(built, "train", "mlp", "--data", "d", "--epochs", "1000000", "--json", "--out", "run")
	c.Dir = dir
	pipe, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Process.Kill()
		c.Wait()
	})
	lines := bufio.NewScanner(pipe)
	for lines.Scan() && !strings.Contains(lines.Text(), `"event":"step"`) {
	}
	go io.Copy(io.Discard, pipe)
	return c
}

// seen is what 'sinter top --json --once' says.
type seen struct {
	Host struct {
		Load   *float64 `json:"load_percent"`
		Memory *float64 `json:"memory_used_bytes"`
		Power  *float64 `json:"power_watts"`
	}
	Devices []struct {
		Device, UUID, Model, Problem string
		Power                        *float64 `json:"power_watts"`
		Utilization                  *float64 `json:"utilization_percent"`
		Slices                       []struct {
			UUID        string
			Used        *float64 `json:"memory_used_bytes"`
			Utilization *float64 `json:"utilization_percent"`
		}
	}
	Runs []struct {
		PID                        int
		Dir, Recipe, Device, State string
		Step, Steps                int
		Loss                       *float64
		Speed                      *float64 `json:"samples_per_second"`
		Energy                     *float64 `json:"joules_per_sample"`
		Left                       *float64 `json:"seconds_left"`
	}
}

func topOf(t *testing.T, dir string) (s seen) {
	t.Helper()
	o := must(t, dir, "top", "--json", "--once")
	if err := json.Unmarshal([]byte(o.stdout), &s); err != nil || strings.Count(o.stdout, "\n") != 1 {
		t.Fatalf("%v: %s", err, o.stdout)
	}
	return s
}

// TestTop looks at a run from outside: with top and by the exporter, while it trains, stands
// still, and is gone.
func TestTop(t *testing.T) {
	dir := t.TempDir()
	run := training(t, dir)
	var s seen
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); { // its file is renewed once a second
		if s = topOf(t, dir); len(s.Runs) == 1 && s.Runs[0].Step > 0 {
			break
		}
	}
	if len(s.Runs) != 1 {
		t.Fatalf("%d runs train", len(s.Runs))
	}
	r := s.Runs[0]
	if want, _ := filepath.EvalSymlinks(dir); r.PID != run.Process.Pid || r.Recipe != "mlp" || r.Device != "cpu" || r.Dir != filepath.Join(want, "run") && r.Dir != filepath.Join(dir, "run") ||
		r.Step < 1 || r.Steps < r.Step || r.Loss == nil || r.Speed == nil || *r.Speed <= 0 || r.Left == nil || r.Energy == nil || *r.Energy <= 0 {
		t.Errorf("the run is %+v", r)
	}
	if runtime.GOOS == "linux" && (s.Host.Load == nil || s.Host.Memory == nil || s.Host.Power == nil) {
		t.Errorf("the machine is %+v", s.Host)
	}
	if o := must(t, dir, "top"); !strings.Contains(o.stdout, "mlp") || !strings.Contains(o.stdout, fmt.Sprint("process ", r.PID)) || strings.Contains(o.stdout, "\x1b") {
		t.Errorf("sinter top, not on a terminal:\n%q", o.stdout)
	}
	if o := must(t, dir, "export", "--once"); !regexp.MustCompile(`sinter_run_step\{.*recipe="mlp",run="run"\} [1-9]`).MatchString(o.stdout) {
		t.Errorf("sinter export --once:\n%s", o.stdout)
	}
	if runtime.GOOS == "linux" || runtime.GOOS == "darwin" {
		if err := pause(run.Process); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(20 * time.Second); time.Now().Before(end) && s.Runs[0].State != "stopped"; {
			s = topOf(t, dir)
		}
		if s.Runs[0].State != "stopped" {
			t.Errorf("a run that was stopped by SIGSTOP is %s", s.Runs[0].State)
		}
	}
	run.Process.Kill()
	run.Wait()
	if s = topOf(t, dir); len(s.Runs) != 0 {
		t.Errorf("a run that was killed is still seen: %+v", s.Runs)
	}
	if left, err := os.ReadDir(filepath.Join(dir, "runtime")); err != nil || len(left) != 0 {
		t.Errorf("files left: %v, %v", left, err)
	}
}

// TestTopDevices looks at an NVML's devices: one that does not tell everything, one in
// slices, one that is lost.
func TestTopDevices(t *testing.T) {
	nvmltest.Use(t, nvmltest.RTX3080+strings.SplitAfterN(nvmltest.A100, "\n", 3)[2]+"device GPU-gone NVIDIA H100 80GB HBM3\n\tlost\n")
	s := topOf(t, t.TempDir())
	if len(s.Devices) != 3 {
		t.Fatalf("the devices are %+v", s.Devices)
	}
	if d := s.Devices[0]; d.UUID != "GPU-3080" || d.Power == nil || *d.Power != 250 || d.Utilization == nil || *d.Utilization != 97 {
		t.Errorf("%+v", d)
	}
	if d := s.Devices[1]; d.Utilization != nil || len(d.Slices) != 3 || d.Slices[0].Used == nil || *d.Slices[0].Used != 3<<30 || d.Slices[0].Utilization != nil {
		t.Errorf("%+v", d)
	}
	if d := s.Devices[2]; d.Problem == "" || d.Power != nil {
		t.Errorf("%+v", d)
	}
	o := must(t, t.TempDir(), "export", "--once")
	for _, want := range []string{`sinter_device_power_watts{device="gpu 0",model="NVIDIA GeForce RTX 3080",parent="",uuid="GPU-3080"} 250`, `parent="GPU-a100",uuid="MIG-1"} 3.221225472e+09`} {
		if !strings.Contains(o.stdout, want) {
			t.Errorf("sinter export has no %s:\n%s", want, o.stdout)
		}
	}
	if !regexp.MustCompile(`(?m)^sinter_device_up\{device="gpu 2",.*\} 0$`).MatchString(o.stdout) {
		t.Errorf("the device that is lost is not told of:\n%s", o.stdout)
	}
	if strings.Contains(o.stdout, `sinter_device_power_watts{device="gpu 2"`) || strings.Contains(o.stdout, `sinter_device_utilization_ratio{device="gpu 1"`) {
		t.Errorf("what is not known is exported:\n%s", o.stdout)
	}
}

// TestExport scrapes, and ends the exporter as a service manager does.
func TestExport(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("SINTER_RUNTIME_DIR", filepath.Join(dir, "runtime"))
	c := exec.Command(built, "export", "--listen", "127.0.0.1:0")
	pipe, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer c.Process.Kill()
	line, err := bufio.NewReader(pipe).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	address := strings.TrimSpace(line)
	answer, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(answer.Body)
	answer.Body.Close()
	if err != nil || !strings.Contains(string(text), "sinter_build_info{") || !strings.HasPrefix(answer.Header.Get("Content-Type"), "text/plain") {
		t.Errorf("%s, %v: %s", answer.Header, err, text)
	}
	busy := strings.TrimSuffix(strings.TrimPrefix(address, "http://"), "/metrics")
	if o := execute(t, dir, "export", "--listen", busy); o.status != exitFailure || !strings.Contains(o.stderr, "--listen") {
		t.Errorf("at an address that is taken: %+v", o)
	}
	if runtime.GOOS == "windows" {
		return
	}
	c.Process.Signal(syscall.SIGTERM)
	if err := c.Wait(); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
}

func TestMonitoringUsage(t *testing.T) {
	dir := t.TempDir()
	for args, want := range map[string]string{
		"top --interval 1ms":          "expected 100ms or more",
		"top --interval often":        "expected a time such as 10s",
		"top all":                     `unexpected argument "all"`,
		"export --listen 9400":        "expected an address with a port",
		"export --listen nowhere:x:y": "expected an address with a port",
	} {
		if o := execute(t, dir, strings.Fields(args)...); o.status != exitUsage || !strings.Contains(o.stderr, want) || o.stdout != "" {
			t.Errorf("sinter %s: %+v", args, o)
		}
	}
	if o := must(t, dir, "export", "--dashboard"); !json.Valid([]byte(o.stdout)) || !strings.Contains(o.stdout, "sinter_device_up") {
		t.Errorf("the dashboard is %.100q…", o.stdout)
	}
}

// TestTopScreen runs top in a real terminal emulator, resizes its window, and presses keys.
func TestTopScreen(t *testing.T) {
	tmux, err := exec.LookPath("tmux")
	testenv.Require(t, "tmux", err == nil, "no tmux in PATH")
	nvmltest.Use(t, nvmltest.RTX3080)
	dir := t.TempDir()
	socket := filepath.Join(dir, "socket")
	do := func(args ...string) string {
		out, err := exec.Command(tmux, append([]string{"-u", "-f", "/dev/null", "-S", socket}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("tmux %q: %v\n%s", args, err, out)
		}
		return string(out)
	}
	do("new-session", "-d", "-x", "80", "-y", "24", built+" top --interval 100ms; echo status $?; exec cat")
	defer exec.Command(tmux, "-S", socket, "kill-server").Run()
	// shows waits until the screen is as it should be.
	shows := func(what string, ok func(screen string) bool) {
		t.Helper()
		var screen string
		for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			if screen = do("capture-pane", "-p"); ok(screen) {
				return
			}
		}
		t.Fatalf("%s:\n%s", what, screen)
	}
	has := func(words ...string) func(string) bool {
		return func(screen string) bool {
			for _, w := range words {
				if !strings.Contains(screen, w) {
					return false
				}
			}
			return true
		}
	}
	shows("80×24", has("sinter top", "> cpu", "GeForce RTX 3080", "250/320 W", "q quit"))
	do("send-keys", "Down")
	shows("the device is selected", func(s string) bool { return strings.Contains(s, "generation 4 of 4") && !strings.Contains(s, "> cpu") })
	do("resize-window", "-x", "60", "-y", "12")
	shows("60×12", func(s string) bool {
		return has("250/320 W", "q quit")(s) && !strings.Contains(s, "p pause") && len(strings.Split(strings.TrimRight(s, "\n"), "\n")) == 12
	})
	do("resize-window", "-x", "160", "-y", "40")
	shows("160×40", has("MEM MHZ", "PCIE IN/OUT", "d details"))
	do("send-keys", "?")
	shows("help", has("estimated"))
	do("send-keys", "q", "q")
	shows("the end", func(s string) bool { return strings.Contains(s, "status 0") && !strings.Contains(s, "GeForce") })
}
