package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sinter-dl/sinter/internal/testenv"
)

func TestPlan(t *testing.T) {
	t.Setenv("SINTER_CALIBRATION", t.TempDir())
	small := []string{"--set", "data.examples=256", "--epochs", "2"}
	dir := t.TempDir()
	one := func(args ...string) (string, string, int) {
		o := execute(t, dir, append(append([]string{"plan", "lenet", "--device", "a100-80gb"}, small...), args...)...)
		return o.stdout, o.stderr, o.status
	}
	out, errs, status := one()
	if status != 0 || !strings.Contains(out, "largest batch") || !strings.Contains(out, "7 × 1g.10gb") || !strings.Contains(out, "estimated from") {
		t.Fatalf("%d %s\n%s", status, errs, out)
	}
	for _, line := range strings.Split(out, "\n") {
		if utf8.RuneCountInString(line) > 110 {
			t.Errorf("a line of %d characters: %s", utf8.RuneCountInString(line), line)
		}
	}
	out, errs, status = one("--json")
	var got struct {
		Plan struct {
			Forecasts []struct {
				Device    string
				Estimated bool
				Fits      bool
				Steps     int
				Memory    struct {
					Total int64 `json:"total_bytes"`
				}
			}
			Verdict string
		}
	}
	if err := json.Unmarshal([]byte(out), &got); status != 0 || err != nil {
		t.Fatalf("%d %v %s\n%s", status, err, errs, out)
	}
	if f := got.Plan.Forecasts; len(f) != 1 || f[0].Device != "a100-80gb" || !f[0].Estimated || !f[0].Fits || f[0].Steps != 8 || f[0].Memory.Total < 1<<20 || got.Plan.Verdict == "" {
		t.Errorf("%s", out)
	}
	prices := filepath.Join(testenv.Root(t), "docs/prices.yaml")
	if out, errs, status := one("--prices", prices, "--deadline", "1h"); status != 0 || !strings.Contains(out, "cheapest under a deadline of 1 h 0 min: a100-80gb") || !strings.Contains(out, "spot") {
		t.Errorf("%d %s\n%s", status, errs, out)
	}
	for _, c := range []struct{ args, says string }{
		{"--device rtx-4009", "rtx-4090"},
		{"--device a100-80gb/9g.9gb", "1g.10gb"},
		{"--region Frnace", "FRA"},
		{"--deadline soon", "expected a time"},
		{"--deadline -3s", "expected a time"},
		{"--budget 5EUR --tariff 0.2USD", "USD"},
		{"--budget lots", "--budget"},
		{"--precision fp4", "fp32"},
	} {
		if out, errs, status := one(strings.Fields(c.args)...); status != 2 || !strings.Contains(errs, c.says) || out != "" {
			t.Errorf("%s: %d %s\n%s", c.args, status, errs, out)
		}
	}
	if _, errs, status := one("--prices", "none.yaml"); status == 0 || !strings.Contains(errs, "none.yaml") {
		t.Errorf("no file of prices: %d %s", status, errs)
	}
	if out, _, status := one("--deadline", "1us"); status != 0 || !strings.Contains(out, "nothing finishes") {
		t.Errorf("a deadline that nothing meets: %d\n%s", status, out)
	}
}
