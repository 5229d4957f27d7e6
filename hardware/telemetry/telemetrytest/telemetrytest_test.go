package telemetrytest

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/sinter-dl/sinter/hardware/telemetry"
)

// The stand-in behaves as devices do: energy follows power, limits are put into force, a device
// that is lost stays in its place.
func TestSource(t *testing.T) {
	now := time.Unix(1000, 0)
	fake := New(GPU("GPU-a", 150), GPU("GPU-b", 200))
	fake.Clock = func() time.Time { return now }
	m, err := telemetry.Open(telemetry.Options{Sources: []telemetry.Source{fake}, Names: map[string]string{"GPU-b": "cuda:0"}})
	if err != nil {
		t.Fatal(err)
	}
	if r := m.Read(); r[0].Energy != telemetry.Known(1000) || r[1].Device != "cuda:0" || !r[0].Time.Equal(now) || r[0].ECCCorrected.OK {
		t.Errorf("%+v", r)
	}
	now = now.Add(10 * time.Second)
	fake.Set("GPU-a", func(r *telemetry.Reading) { r.Power = telemetry.Known(50) })
	now = now.Add(2 * time.Second)
	r := m.ReadEnergy()
	if r[0].Energy != telemetry.Known(1000+1500+100) || r[1].Energy != telemetry.Known(1000+2400) || r[0].Utilization.OK {
		t.Errorf("%+v", r)
	}
	if err := m.SetPowerLimit("GPU-b", 250); err != nil {
		t.Fatal(err)
	}
	if err := m.SetPowerLimit("GPU-b", 500); err == nil {
		t.Error("a limit that is too high")
	}
	if r := m.Read(); r[1].PowerLimit != telemetry.Known(250) {
		t.Errorf("%+v", r[1])
	}
	fake.Denied = telemetry.ErrPermission
	if err := m.SetPowerLimit("GPU-a", 250); !errors.Is(err, telemetry.ErrPermission) {
		t.Errorf("%v", err)
	}
	if got := fake.Limits(); !slices.Equal(got, []Limit{{"GPU-b", 250}}) {
		t.Errorf("%v", got)
	}
	fake.Lose("GPU-a")
	if r := m.Read(); len(r) != 2 || r[0].Problem == "" || r[0].Power.OK || r[0].UUID != "GPU-a" || r[1].Problem != "" {
		t.Errorf("%+v", r)
	}
	if err := m.Close(); err != nil || !fake.Closed() {
		t.Errorf("%v", err)
	}
}
