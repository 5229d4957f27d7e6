package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sinter-dl/sinter/hardware/doctor"
	"github.com/sinter-dl/sinter/internal/backend/cuda/simcuda"
	"github.com/sinter-dl/sinter/internal/dl/dltest"
	"github.com/sinter-dl/sinter/internal/dl/nvml/nvmltest"
)

// examine runs the command on a machine whose libraries are those of a list of folders.
func examine(t *testing.T, folders []string, args ...string) (*doctor.Report, outcome) {
	t.Helper()
	c := exec.Command(built, append([]string{"doctor", "--json"}, args...)...)
	c.Dir = t.TempDir()
	c.Env = append(os.Environ(), "SINTER_LIBRARY_PATH="+strings.Join(append(folders, "none"), string(os.PathListSeparator)), "SINTER_KERNEL_CACHE="+c.Dir, "SINTER_DEVICE=", "CUDA_VISIBLE_DEVICES=0")
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	c.Run()
	var r doctor.Report
	if err := json.Unmarshal(stdout.Bytes(), &r); err != nil {
		t.Fatalf("%v\n%s\n%s", err, &stdout, &stderr)
	}
	return &r, outcome{c.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// find is the finding of a check on a subject.
func find(t *testing.T, r *doctor.Report, check, subject string) doctor.Finding {
	t.Helper()
	i := slices.IndexFunc(r.Findings, func(f doctor.Finding) bool { return f.Check == check && f.Subject == subject })
	if i < 0 {
		t.Fatalf("there is no %s of %q in %+v", check, subject, r.Findings)
	}
	return r.Findings[i]
}

// A card of a simulated driver computes, and one of NVML's is measured.
func TestDoctorComputes(t *testing.T) {
	t.Parallel()
	scenario := strings.Replace(nvmltest.RTX3080, "temperature 65", "temperature 97", 1)
	r, o := examine(t, []string{nvmltest.Build(t, scenario), simcuda.Require(t).Dir})
	for _, device := range []string{"cuda:0", "cpu"} {
		if f := find(t, r, "devices.compute", device); f.Verdict != doctor.OK || !strings.Contains(f.Evidence, "right to the last bit") {
			t.Errorf("%+v", f)
		}
	}
	if f := find(t, r, "devices.libraries", "cuDNN"); f.Verdict != doctor.Warning || !strings.Contains(f.Evidence, "missing") || !strings.Contains(f.Remedy, "pip install nvidia-cudnn-cu12") {
		t.Errorf("%+v", f)
	}
	if f := find(t, r, "cards.temperature", "cuda:0"); f.Verdict != doctor.Failure || !strings.Contains(f.Evidence, "97 °C") {
		t.Errorf("%+v", f)
	}
	if o.status != 2 || r.Verdict != doctor.Failure || o.stderr != "" {
		t.Errorf("status %d, %s, %q", o.status, r.Verdict, o.stderr)
	}
}

// A driver that crashes takes the process that asked it, and no more.
func TestDoctorSurvivesDriver(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, library, evidence string }{
		{"crashes", `#include <stdlib.h>
__attribute__((constructor)) static void begin() { abort(); }`, "SIGABRT"},
		{"hangs", `#include <unistd.h>
__attribute__((constructor)) static void begin() { sleep(60); }`, "no answer from the drivers of devices within 500ms"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r, o := examine(t, []string{filepath.Dir(dltest.Library(t, "libcuda.so.1", c.library))}, "--limit", "500ms")
			if f := find(t, r, "devices.driver", ""); f.Verdict != doctor.Failure || !strings.Contains(f.Evidence, c.evidence) || f.Remedy == "" {
				t.Errorf("%+v", f)
			}
			if f := find(t, r, "memory.total", ""); f.Evidence == "" {
				t.Errorf("%+v", f)
			}
			if o.status != 2 || o.stderr != "" {
				t.Errorf("status %d, %q", o.status, o.stderr)
			}
		})
	}
}

func TestDoctorUsage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ args, message string }{
		{"--supply -5", "--supply: found -5"}, {"--supply big", `found "big", expected a number`}, {"--limit 0s", "--limit: found 0s"}, {"--limit soon", "--limit"}, {"--strickt", "did you mean"}, {"now", "unexpected argument"},
	} {
		if o := execute(t, t.TempDir(), append([]string{"doctor"}, strings.Fields(c.args)...)...); o.status != exitUsage || !strings.Contains(o.stderr, c.message) {
			t.Errorf("%s: status %d, %s", c.args, o.status, o.stderr)
		}
	}
	o := must(t, t.TempDir(), "doctor", "--list")
	for _, c := range doctor.Checks() {
		if !strings.Contains(o.stdout, c.Name) {
			t.Errorf("--list has no %s", c.Name)
		}
	}
}

// The report fits into 80 columns, groups stand together, what was skipped for one reason
// shares a line, and text from drivers moves no cursor.
func TestDoctorPrint(t *testing.T) {
	r := &doctor.Report{Verdict: doctor.Failure, OK: 2, Warnings: 1, Failures: 1, Skipped: 3, Seconds: 0.42, Findings: []doctor.Finding{
		{Group: "Memory", Check: "memory.total", Verdict: doctor.OK, Evidence: "67.4 GB"},
		{Group: "Devices", Check: "devices.libraries", Subject: "NVRTC", Verdict: doctor.OK, Evidence: "13.2.86 /opt/environments/pytorch/lib/python3.11/site-packages/nvidia/libnvrtc.so.13"},
		{Group: "Devices", Check: "devices.libraries", Subject: "cuDNN", Verdict: doctor.Warning, Evidence: "missing; it has NVIDIA's convolutions and attention; without it Sinter's own are used, which are slower", Remedy: "pip install nvidia-cudnn-cu13, in an environment that is active or that SINTER_LIBRARY_PATH names; or NVIDIA's packages for CUDA 13"},
		{Group: "Cards", Check: "cards.link", Verdict: doctor.Skipped, Evidence: "there is no card that tells"},
		{Group: "Cards", Check: "cards.ecc", Verdict: doctor.Skipped, Evidence: "there is no card that tells"},
		{Group: "Cards", Check: "cards.supply", Verdict: doctor.Skipped, Evidence: "there is no card with a power limit"},
		{Group: "Cards", Check: "cards.telemetry", Subject: "gpu\x1b[2J 0", Verdict: doctor.Failure, Evidence: "lost\r\n", Remedy: "restart"},
	}}
	var out bytes.Buffer
	printReport(&out, r)
	text := out.String()
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if utf8.RuneCountInString(line) > doctorWidth && strings.Contains(strings.TrimSpace(line), " ") || strings.HasSuffix(line, " ") || strings.ContainsAny(line, "\x1b\r") {
			t.Errorf("%d columns: %q", utf8.RuneCountInString(line), line)
		}
	}
	flat := strings.Join(strings.Fields(text), " ")
	for _, want := range []string{
		"Memory ok total 67.4 GB Devices ok libraries NVRTC: 13.2.86 /opt/environments", "warning cuDNN: missing; it has", "-> pip install nvidia-cudnn-cu13, in",
		"Cards skipped link, ecc there is no card that tells skipped supply there is no card with a power limit", "failure telemetry gpu·[2J 0: lost", "-> restart",
		"Something does not work: see the failures. 2 ok, 1 warning, 1 failure, 3 skipped, in 0.4 s.",
	} {
		if !strings.Contains(flat, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if testing.Verbose() {
		t.Log("\n" + text)
	}
}
