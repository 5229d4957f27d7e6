package power

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter/internal/testenv"
)

func TestFindRegion(t *testing.T) {
	for _, name := range []string{"FRA", "fr", "France", " FRANCE "} {
		if r, err := FindRegion(name); r.Code != "FRA" || r.Name != "France" || err != nil {
			t.Errorf("FindRegion(%q) = %v, %v", name, r, err)
		}
	}
	for name, code := range map[string]string{"UK": "GBR", "world": "WORLD", "us": "USA", "Czech Republic": "CZE", "EU": "EU", "eu27": "EU"} {
		if r, err := FindRegion(name); r.Code != code || err != nil {
			t.Errorf("FindRegion(%q) = %v, %v; want %s", name, r, err, code)
		}
	}
	for name, near := range map[string]string{"FRX": "France", "Germny": "Germany", "Untied States": "United States", "DEE": "Germany", "": "", "Swedn": "SWE"} {
		_, err := FindRegion(name)
		var unknown *UnknownError
		if !errors.As(err, &unknown) || !strings.Contains(err.Error(), near) || !strings.Contains(err.Error(), "ISO 3166") {
			t.Errorf("FindRegion(%q): %v; want one that names %q", name, err, near)
		}
	}
}

func TestRegionsAreWhole(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range regions {
		for _, key := range []string{r.three, r.two, strings.ToUpper(r.name)} {
			if seen[key] {
				t.Errorf("%q is there twice", key)
			}
			seen[key] = true
		}
		if r.carbon < 1 || r.carbon > 1200 || r.year < 2022 || r.year > 2024 {
			t.Errorf("%+v", r)
		}
		if r.three != "EU" && (len(r.three) != 3 || len(r.two) != 2) {
			t.Errorf("codes of %+v", r)
		}
	}
	for alias, code := range regionAliases {
		if seen[alias] || !seen[code] {
			t.Errorf("alias %q of %q", alias, code)
		}
	}
	if n := len(Regions()); n < 80 {
		t.Errorf("%d regions", n)
	}
	if r := Regions()[0]; r.Source == "" || r.Year == 0 {
		t.Errorf("%+v has no source", r)
	}
}

// Another edition of the same statistics, mostly of 2022 and 2023, has to agree. Grids
// change from year to year and editions are revised, so that single ones differ more: 9 of
// 10 are to be within 25 % or 40 g/kWh, and all within a half or 150 g but El Salvador's,
// whose 271 g of 2023 a later edition has revised to 118.
func TestRegionsAgainstReference(t *testing.T) {
	text, err := os.ReadFile(testenv.SharedData(t, "energy", "global_energy_mix.json"))
	if err != nil {
		t.Fatal(err)
	}
	var mix map[string]struct {
		Carbon float64 `json:"carbon_intensity"`
		Name   string  `json:"country_name"`
		Year   int     `json:"year"`
	}
	if err := json.Unmarshal(text, &mix); err != nil {
		t.Fatal(err)
	}
	both, near := 0, 0
	for _, r := range regions {
		m, ok := mix[r.three]
		if !ok || m.Carbon == 0 {
			continue
		}
		both++
		d := math.Abs(r.carbon - m.Carbon)
		if d <= max(40, 0.25*m.Carbon) {
			near++
		}
		if d > max(150, 0.5*m.Carbon) && r.three != "SLV" {
			t.Errorf("%s: %g g/kWh in %d, and the reference has %g in %d", r.name, r.carbon, r.year, m.Carbon, m.Year)
		}
	}
	t.Logf("%d of %d regions are near the reference", near, both)
	if both < 80 || float64(near) < 0.9*float64(both) {
		t.Errorf("%d of %d regions are near the reference", near, both)
	}
}
