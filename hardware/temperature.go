package hardware

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Temperature is how hot the processors are, in °C: the hottest of their sensors, as the
// kernel's hwmon has them, else of its thermal zones. The source is the sensor's name. The
// error says why it cannot be told; virtual machines, as a rule, have no sensors.
func (s System) Temperature() (celsius float64, source string, err error) {
	if !s.files() {
		return 0, "", errors.New("the temperature of the processors is read on Linux only")
	}
	hottest := func(dir, label string, names []string, inputs string) {
		folders, _ := filepath.Glob(s.path(dir))
		for _, folder := range folders {
			name, _ := os.ReadFile(filepath.Join(folder, label))
			kind := strings.TrimSpace(string(name))
			if !slices.Contains(names, kind) {
				continue
			}
			files, _ := filepath.Glob(filepath.Join(folder, inputs))
			for _, file := range files {
				text, err := os.ReadFile(file)
				if err != nil {
					continue
				}
				milli, err := strconv.ParseFloat(strings.TrimSpace(string(text)), 64)
				if v := milli / 1000; err == nil && v > -60 && v < 250 && (source == "" || v > celsius) {
					celsius, source = v, kind
				}
			}
		}
	}
	// The drivers' names: Intel, AMD, boards with ARM.
	hottest("/sys/class/hwmon/hwmon*", "name", []string{"coretemp", "k10temp", "k8temp", "zenpower", "fam15h_power", "cpu_thermal", "cpu-thermal", "soc_thermal", "scpi_sensors"}, "temp*_input")
	if source == "" {
		hottest("/sys/class/thermal/thermal_zone*", "type", []string{"x86_pkg_temp", "cpu-thermal", "cpu_thermal", "cpu0-thermal", "cpuss0-thermal", "soc-thermal", "soc_thermal"}, "temp")
	}
	if source == "" {
		return 0, "", fmt.Errorf("the processors have no sensor of temperature that can be read: neither coretemp or k10temp in %s nor a zone of a processor in %s", s.path("sys/class/hwmon"), s.path("/sys/class/thermal"))
	}
	return celsius, source, nil
}
