package power

import (
	"fmt"
	"slices"
	"strings"
)

// Region is a place with an electricity grid.
type Region struct {
	Code   string  `json:"code"` // of three letters, ISO 3166-1 alpha-3
	Name   string  `json:"name"`
	Carbon float64 `json:"carbon"` // g CO2e for a kWh generated, over the life cycle of the plants; mean of the year
	Year   int     `json:"year"`
	Source string  `json:"source"`
}

// World is the mean over all grids, for where no region is given.
var World = Region{"WORLD", "World", 473, 2024, regionSource}

// String is "France (FRA): 44 g/kWh in 2024".
func (r Region) String() string {
	if r.Year == 0 {
		return fmt.Sprintf("%s (%s): %g g/kWh", r.Name, r.Code, r.Carbon)
	}
	return fmt.Sprintf("%s (%s): %g g/kWh in %d", r.Name, r.Code, r.Carbon, r.Year)
}

// Regions is the regions known, sorted by name.
func Regions() []Region {
	list := make([]Region, 0, len(regions))
	for _, r := range regions {
		list = append(list, r.region())
	}
	slices.SortFunc(list, func(a, b Region) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// FindRegion takes a code of three or of two letters or an English name, "FRA", "fr",
// "France"; "world" is [World]. The error is an *UnknownError.
func FindRegion(name string) (Region, error) {
	key := strings.ToUpper(strings.TrimSpace(name))
	if key == "WORLD" {
		return World, nil
	}
	if alias, ok := regionAliases[key]; ok {
		key = alias
	}
	for _, r := range regions {
		if key == r.three || key == r.two || key == strings.ToUpper(r.name) {
			return r.region(), nil
		}
	}
	// A short name is likely a code, and a long one a name.
	var names []string
	for _, r := range regions {
		if len(key) <= 3 {
			names = append(names, r.three, r.two)
		} else {
			names = append(names, r.name)
		}
	}
	list := near(key, names)
	for i, n := range list {
		if r, err := FindRegion(n); err == nil {
			list[i] = fmt.Sprintf("%s (%s)", r.Code, r.Name)
		}
	}
	return Region{}, &UnknownError{Kind: "region", Name: name, Nearest: slices.Compact(list),
		Hint: "codes are those of ISO 3166-1, FRA or FR; the carbon intensity of another place can be given by a file, or as a number of g/kWh"}
}

// regionAliases are other names in use.
var regionAliases = map[string]string{
	"UK": "GBR", "GREAT BRITAIN": "GBR", "BRITAIN": "GBR", "ENGLAND": "GBR", "SCOTLAND": "GBR", "WALES": "GBR",
	"AMERICA": "USA", "UNITED STATES OF AMERICA": "USA",
	"CZECH REPUBLIC": "CZE", "TÜRKIYE": "TUR", "TURKIYE": "TUR", "HOLLAND": "NLD", "THE NETHERLANDS": "NLD",
	"KOREA": "KOR", "REPUBLIC OF KOREA": "KOR", "RUSSIAN FEDERATION": "RUS", "VIET NAM": "VNM", "UAE": "ARE",
	"MACEDONIA": "MKD", "EU-27": "EU", "EUROPE": "EU",
}

// regionSource is where the figures of the table below are from.
const regionSource = "Ember (2025) and Energy Institute (2024), processed by Our World in Data"

type regionRow struct {
	three, two, name string
	carbon           float64
	year             int
}

func (r regionRow) region() Region { return Region{r.three, r.name, r.carbon, r.year, regionSource} }

// regions is carbon_intensity_elec of the energy data set of Our World in Data (edition
// of 2025, CC BY 4.0, github.com/owid/energy-data), rounded to grams: of each grid that
// is large or that data centres stand on, the latest year that there is.
var regions = []regionRow{
	{"EU", "EU27", "European Union", 237, 2023},
	{"ALB", "AL", "Albania", 24, 2023},
	{"DZA", "DZ", "Algeria", 634, 2023},
	{"AGO", "AO", "Angola", 167, 2023},
	{"ARG", "AR", "Argentina", 359, 2024},
	{"ARM", "AM", "Armenia", 244, 2024},
	{"AUS", "AU", "Australia", 552, 2024},
	{"AUT", "AT", "Austria", 103, 2024},
	{"AZE", "AZ", "Azerbaijan", 633, 2024},
	{"BHR", "BH", "Bahrain", 902, 2023},
	{"BGD", "BD", "Bangladesh", 695, 2024},
	{"BLR", "BY", "Belarus", 314, 2024},
	{"BEL", "BE", "Belgium", 118, 2024},
	{"BOL", "BO", "Bolivia", 468, 2024},
	{"BIH", "BA", "Bosnia and Herzegovina", 638, 2024},
	{"BRA", "BR", "Brazil", 103, 2024},
	{"BGR", "BG", "Bulgaria", 264, 2024},
	{"CAN", "CA", "Canada", 175, 2024},
	{"CHL", "CL", "Chile", 266, 2024},
	{"CHN", "CN", "China", 560, 2024},
	{"COL", "CO", "Colombia", 286, 2024},
	{"CRI", "CR", "Costa Rica", 63, 2024},
	{"HRV", "HR", "Croatia", 174, 2024},
	{"CYP", "CY", "Cyprus", 512, 2024},
	{"CZE", "CZ", "Czechia", 414, 2024},
	{"DNK", "DK", "Denmark", 143, 2024},
	{"DOM", "DO", "Dominican Republic", 567, 2024},
	{"ECU", "EC", "Ecuador", 210, 2024},
	{"EGY", "EG", "Egypt", 572, 2024},
	{"SLV", "SV", "El Salvador", 102, 2024},
	{"EST", "EE", "Estonia", 341, 2024},
	{"ETH", "ET", "Ethiopia", 24, 2023},
	{"FIN", "FI", "Finland", 72, 2024},
	{"FRA", "FR", "France", 44, 2024},
	{"GEO", "GE", "Georgia", 143, 2024},
	{"DEU", "DE", "Germany", 344, 2024},
	{"GHA", "GH", "Ghana", 453, 2023},
	{"GRC", "GR", "Greece", 320, 2024},
	{"GTM", "GT", "Guatemala", 273, 2023},
	{"HKG", "HK", "Hong Kong", 682, 2023},
	{"HUN", "HU", "Hungary", 183, 2024},
	{"ISL", "IS", "Iceland", 28, 2023},
	{"IND", "IN", "India", 708, 2024},
	{"IDN", "ID", "Indonesia", 682, 2023},
	{"IRN", "IR", "Iran", 642, 2024},
	{"IRQ", "IQ", "Iraq", 689, 2023},
	{"IRL", "IE", "Ireland", 280, 2024},
	{"ISR", "IL", "Israel", 567, 2023},
	{"ITA", "IT", "Italy", 288, 2024},
	{"JPN", "JP", "Japan", 482, 2024},
	{"JOR", "JO", "Jordan", 539, 2022},
	{"KAZ", "KZ", "Kazakhstan", 802, 2024},
	{"KEN", "KE", "Kenya", 85, 2024},
	{"KWT", "KW", "Kuwait", 637, 2024},
	{"LVA", "LV", "Latvia", 136, 2024},
	{"LTU", "LT", "Lithuania", 139, 2024},
	{"LUX", "LU", "Luxembourg", 135, 2024},
	{"MYS", "MY", "Malaysia", 604, 2024},
	{"MLT", "MT", "Malta", 484, 2024},
	{"MEX", "MX", "Mexico", 485, 2024},
	{"MNG", "MN", "Mongolia", 784, 2024},
	{"MNE", "ME", "Montenegro", 414, 2024},
	{"MAR", "MA", "Morocco", 578, 2024},
	{"NLD", "NL", "Netherlands", 253, 2024},
	{"NZL", "NZ", "New Zealand", 120, 2024},
	{"NGA", "NG", "Nigeria", 508, 2024},
	{"MKD", "MK", "North Macedonia", 569, 2024},
	{"NOR", "NO", "Norway", 31, 2024},
	{"OMN", "OM", "Oman", 545, 2024},
	{"PAK", "PK", "Pakistan", 399, 2024},
	{"PAN", "PA", "Panama", 259, 2023},
	{"PER", "PE", "Peru", 263, 2024},
	{"PHL", "PH", "Philippines", 613, 2024},
	{"POL", "PL", "Poland", 615, 2024},
	{"PRT", "PT", "Portugal", 112, 2024},
	{"QAT", "QA", "Qatar", 603, 2024},
	{"ROU", "RO", "Romania", 246, 2024},
	{"RUS", "RU", "Russia", 449, 2024},
	{"SAU", "SA", "Saudi Arabia", 696, 2023},
	{"SRB", "RS", "Serbia", 671, 2024},
	{"SGP", "SG", "Singapore", 499, 2024},
	{"SVK", "SK", "Slovakia", 96, 2024},
	{"SVN", "SI", "Slovenia", 228, 2024},
	{"ZAF", "ZA", "South Africa", 709, 2024},
	{"KOR", "KR", "South Korea", 414, 2024},
	{"ESP", "ES", "Spain", 146, 2024},
	{"LKA", "LK", "Sri Lanka", 510, 2022},
	{"SWE", "SE", "Sweden", 36, 2024},
	{"CHE", "CH", "Switzerland", 37, 2024},
	{"TWN", "TW", "Taiwan", 636, 2024},
	{"THA", "TH", "Thailand", 554, 2024},
	{"TUN", "TN", "Tunisia", 560, 2024},
	{"TUR", "TR", "Turkey", 470, 2024},
	{"UKR", "UA", "Ukraine", 256, 2022},
	{"ARE", "AE", "United Arab Emirates", 493, 2023},
	{"GBR", "GB", "United Kingdom", 211, 2024},
	{"USA", "US", "United States", 384, 2024},
	{"URY", "UY", "Uruguay", 97, 2024},
	{"UZB", "UZ", "Uzbekistan", 1121, 2023},
	{"VNM", "VN", "Vietnam", 471, 2024},
}
