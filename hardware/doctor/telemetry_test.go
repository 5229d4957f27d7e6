package doctor

import (
	"os"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter/internal/dl/nvml/nvmltest"
)

// The same by a library that stands for NVML, through the bindings.
func TestByNVML(t *testing.T) {
	change := func(scenario string, pairs ...string) string {
		changed := strings.NewReplacer(pairs...).Replace(scenario)
		if changed == scenario {
			t.Fatal("nothing was changed")
		}
		return changed
	}
	t.Setenv("CUDA_VISIBLE_DEVICES", "") // for it to be as it was, afterwards
	os.Unsetenv("CUDA_VISIBLE_DEVICES")
	dir := nvmltest.Use(t, nvmltest.A100)
	for _, c := range []struct {
		name, scenario string
		wants          []wants
	}{
		{"A100 in slices", nvmltest.A100, []wants{
			{"cards.telemetry", "gpu 0", OK, "NVIDIA A100-SXM4-80GB, 180 W, 45 °C", ""},
			{"cards.mig", "gpu 0", OK, "3 slices*MIG-1 NVIDIA A100-SXM4-80GB MIG 3g.40gb", ""},
			{"cards.ecc", "gpu 0", OK, "2 corrected, none uncorrected", ""},
			{"cards.persistence", "gpu 0", OK, "on", ""},
			{"cards.temperature", "gpu 0", OK, "45 °C, memory 51 °C; it slows down at 92 °C", ""},
			{"cards.throttle", "gpu 0", OK, "nothing", ""},
		}},
		{"A100 with errors", change(nvmltest.A100, "ecc_uncorrected 0", "ecc_uncorrected 7", "reasons 0x1", "reasons 0x68", "persistence 1", "persistence 0", "temperature 45", "temperature 93", "pcie 4 16", "pcie 3 4"), []wants{
			{"cards.ecc", "gpu 0", Failure, "7 errors that could not be corrected", "nvidia-smi --gpu-reset"},
			{"cards.throttle", "gpu 0", Failure, "hardware slowdown, temperature (software), temperature (hardware)", "fans"},
			{"cards.persistence", "gpu 0", Warning, "off", "nvidia-persistenced"},
			{"cards.temperature", "gpu 0", Failure, "93 °C", "-i GPU-a100 -pl"},
			{"cards.link", "gpu 0", Warning, "x4, generation 3 at the moment (up to 4 under load), and card and slot can do x16", "reseat"},
		}},
		{"RTX 3080 with a low limit", change(nvmltest.RTX3080, "limit 320000", "limit 150000"), []wants{
			{"cards.power", "cuda:0", Warning, "150 W; its default is 320 W", "nvidia-smi -i GPU-3080 -pl 320"},
			{"cards.ecc", "cuda:0", Skipped, "n/a", ""},
			{"cards.mig", "cuda:0", Skipped, "n/a", ""},
			{"cards.throttle", "cuda:0", OK, "power limit", ""},
		}},
		{"RTX 3080 that answers little", "driver 580.65.06\ncuda 13000\ndevice GPU-3080 NVIDIA GeForce RTX 3080\n\tpower 250000\n\ttemperature unsupported\n", []wants{
			{"cards.telemetry", "cuda:0", OK, "NVIDIA GeForce RTX 3080, 250 W", ""},
			{"cards.temperature", "cuda:0", Skipped, "n/a (the device does not tell it)", ""},
			{"cards.memory", "cuda:0", Skipped, "n/a", ""},
			{"cards.power", "cuda:0", Skipped, "n/a", ""},
			{"cards.link", "cuda:0", Skipped, "n/a", ""},
			{"cards.throttle", "cuda:0", Skipped, "n/a", ""},
			{"cards.persistence", "cuda:0", Skipped, "n/a", ""},
		}},
		{"a lost RTX 3080", nvmltest.RTX3080 + "\tlost\n", []wants{
			{"cards.telemetry", "cuda:0", Failure, "lost", "dmesg"},
			{"cards.temperature", "", Skipped, noCard, ""},
		}},
		{"a driver that is not loaded", "init 9\n" + nvmltest.RTX3080, []wants{
			{"cards.telemetry", "nvidia", Warning, "nothing that measures it", "libnvidia-ml1"},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			nvmltest.Write(t, dir, c.scenario)
			b := newBox(t)
			b.inventory.Devices[0].Aliases, b.inventory.Devices[1].Aliases = nil, nil
			b.telemetry = true
			r := b.examine()
			checkWhole(t, r)
			for _, w := range c.wants {
				w.expect(t, r)
			}
		})
	}
}

// The same by the files of AMD's driver.
func TestByAMD(t *testing.T) {
	t.Setenv("SINTER_LIBRARY_PATH", "none")
	const dir = "sys/bus/pci/devices/0000:0b:00.0/"
	for _, c := range []struct {
		name  string
		broke func(*box)
		wants []wants
	}{
		{"RX 6800 XT", func(*box) {}, []wants{
			{"cards.telemetry", "gpu 0", OK, "AMD Radeon RX 6800 XT, 31 W, 52 °C, 3 % busy", ""},
			{"cards.temperature", "gpu 0", OK, "52 °C; it slows down at 100 °C", ""},
			{"cards.power", "gpu 0", OK, "255 W; its default is 255 W, and the catalogue's 300 W", ""},
			{"cards.link", "gpu 0", OK, "x16", ""},
			{"cards.memory", "gpu 0", OK, "16.6 GB of 17.2 GB free", ""},
			{"cards.ecc", "gpu 0", Skipped, "n/a", ""},
			{"cards.throttle", "gpu 0", Skipped, "n/a", ""},
			{"cards.mig", "gpu 0", Skipped, "n/a", ""},
			{"system.energy", "gpu 0", OK, "amdgpu: power, summed up over time", ""},
		}},
		{"a bad one", func(b *box) {
			b.file(dir+"hwmon/hwmon3/temp1_input", "101000")
			b.file(dir+"hwmon/hwmon3/power1_cap", "100000000")
			b.file(dir+"mem_info_vram_used", "9000000000")
			b.file(dir+"current_link_width", "4")
		}, []wants{
			{"cards.temperature", "gpu 0", Failure, "101 °C; it slows down at 100 °C", "rocm-smi --setpoweroverdrive WATTS"},
			{"cards.power", "gpu 0", Warning, "100 W; its default is 255 W", "rocm-smi --setpoweroverdrive 255"},
			{"cards.memory", "gpu 0", Warning, "8.2 GB of 17.2 GB free", "end the programs"},
			{"cards.link", "gpu 0", Warning, "x4*x16*25 %", "reseat"},
		}},
		{"one that tells nothing", func(b *box) { b.remove(dir+"hwmon", dir+"mem_info_vram_total", dir+"gpu_busy_percent") }, []wants{
			{"cards.telemetry", "gpu 0", OK, "AMD Radeon RX 6800 XT", ""},
			{"cards.temperature", "gpu 0", Skipped, "n/a (the driver has no file temp1_input)", ""},
			{"cards.power", "gpu 0", Skipped, "n/a", ""},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBox(t)
			b.amd()
			b.telemetry = true
			for name, text := range map[string]string{
				"mem_info_vram_total": "17163091968", "mem_info_vram_used": "600000000", "gpu_busy_percent": "3",
				"hwmon/hwmon3/power1_average": "31000000", "hwmon/hwmon3/power1_cap": "255000000", "hwmon/hwmon3/power1_cap_default": "255000000",
				"hwmon/hwmon3/temp1_input": "52000", "hwmon/hwmon3/temp1_crit": "100000",
			} {
				b.file(dir+name, text)
			}
			c.broke(b)
			r := b.examine()
			checkWhole(t, r)
			for _, w := range c.wants {
				w.expect(t, r)
			}
		})
	}
}
