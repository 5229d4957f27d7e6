package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestSubmit submits by commands that stand in for sbatch and kubectl.
func TestSubmit(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the stand-ins are shell scripts")
	}
	dir := t.TempDir()
	mnistLike(t, filepath.Join(dir, "d"))
	tools := t.TempDir()
	t.Setenv("PATH", tools+":/bin:/usr/bin")
	tool := func(name, body string) {
		t.Helper()
		write(t, filepath.Join(tools, name), []byte("#!/bin/sh\n"+body+"\n"))
		if err := os.Chmod(filepath.Join(tools, name), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	tool("sbatch", `echo "$@" > sent.args; cat > sent; echo "41;here"`)
	tool("kubectl", `echo "no cluster" >&2; exit 1`)

	o := must(t, dir, "submit", "--to", "slurm", "mlp", "--data", "d", "--epochs", "3", "--set", "model.hidden=[16]", "--window", "23:00-06:00 Europe/Paris", "--send", "--json", "--name", "night")
	var said struct {
		Job, Run string
		Memory   int64 `json:"memory_bytes"`
		Begin    *string
	}
	if err := json.Unmarshal([]byte(o.stdout), &said); err != nil || said.Job != "41" || said.Run != "runs/night" {
		t.Fatalf("%v: %s", err, o.stdout)
	}
	if said.Memory < 64<<20 || said.Memory > 2<<30 {
		t.Errorf("asks for %d bytes of memory", said.Memory)
	}
	sent := string(contents(t, filepath.Join(dir, "sent")))
	for _, want := range []string{
		"sinter train mlp '--set=model.hidden=[16]' --data=d --epochs=3 --out=runs/night --continue &", "submit window --unix -- '23:00-06:00 Europe/Paris'",
		"#SBATCH --chdir=" + dir + "\n", "#SBATCH --signal=B:USR1@120\n", "(planned)",
	} {
		if !strings.Contains(sent, want) {
			t.Errorf("there is no %q in\n%s", want, sent)
		}
	}

	kube := []string{"submit", "--to", "kubernetes", "--image", "sinter", "--claim", "c", "mine.yaml", "--mem", "1GiB", "--name", "x"}
	source := must(t, dir, "recipe", "show", "lenet").stdout
	write(t, filepath.Join(dir, "mine.yaml"), []byte(source))
	o = must(t, dir, kube...)
	for _, want := range []string{"kind: ConfigMap", "kind: JobSet", "- /etc/sinter/recipe.yaml", "memory: 1024Mi"} {
		if !strings.Contains(o.stdout, want) {
			t.Errorf("there is no %q in\n%s", want, o.stdout)
		}
	}
	if o = must(t, dir, append(kube, "-o", "job.yaml", "--begin", "2099-01-01T22:00Z")...); !strings.Contains(o.stderr, "no windows of time") || !strings.Contains(o.stderr, "job.yaml") {
		t.Errorf("it says %s", o.stderr)
	}
	if text := string(contents(t, filepath.Join(dir, "job.yaml"))); !strings.Contains(text, "suspend: true") {
		t.Errorf("not suspended:\n%s", text)
	}

	for what, c := range map[string]struct {
		status int
		says   string
		args   []string
	}{
		"no scheduler":      {exitUsage, "expected slurm or kubernetes", []string{"submit", "mlp"}},
		"another scheduler": {exitUsage, "expected slurm or kubernetes", []string{"submit", "--to", "pbs", "mlp"}},
		"no data here":      {exitUsage, "--mem", []string{"submit", "--to", "slurm", "mlp", "--data", "nowhere"}},
		"a zone":            {exitUsage, "Europe/Paris", []string{"submit", "--to", "slurm", "mlp", "--data", "d", "--window", "23:00-06:00 Europe/Pariss"}},
		"two GPUs":          {exitUsage, "--gpus", []string{"submit", "--to", "slurm", "mlp", "--data", "d", "--gpus", "2"}},
		"a time":            {exitUsage, "--begin", []string{"submit", "--to", "slurm", "mlp", "--data", "d", "--begin", "tonight"}},
		"no image":          {exitUsage, "--image", []string{"submit", "--to", "kubernetes", "mlp", "--data", "d", "--claim", "c"}},
		"a key":             {exitUsage, "model.hiden", []string{"submit", "--to", "slurm", "mlp", "--set", "model.hiden=1"}},
		"no cluster":        {1, "no cluster", append(kube, "--send")},
	} {
		if o := execute(t, dir, c.args...); o.status != c.status || !strings.Contains(o.stderr, c.says) || o.stdout != "" {
			t.Errorf("%s: status %d, %s%s", what, o.status, o.stderr, o.stdout)
		}
	}
	if err := os.Remove(filepath.Join(tools, "sbatch")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", tools)
	if o := execute(t, dir, "submit", "--to", "slurm", "mlp", "--data", "d", "--send"); o.status != 1 || !strings.Contains(o.stderr, "slurm-client") {
		t.Errorf("without sbatch: status %d, %s", o.status, o.stderr)
	}

	if o := must(t, dir, "submit", "window", "00:00-23:59 UTC"); !strings.Contains(o.stdout, "closes") {
		t.Errorf("the window: %s", o.stdout)
	}
	if o := execute(t, dir, "submit", "window", "00:00-24:00 UTC"); o.status != exitUsage {
		t.Errorf("a window that is always open: status %d, %s", o.status, o.stdout)
	}
}
