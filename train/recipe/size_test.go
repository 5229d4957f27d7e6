package recipe

import "testing"

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{
		"8GB": 8e9, "8 gb": 8e9, "8G": 8e9, "512MiB": 512 << 20, "1.5kB": 1500, "2TiB": 2 << 40, "100": 100, "1.5e9": 15e8, "7B": 7,
		"": 0, "GB": 0, "-1GB": 0, "8XB": 0, "8iB": 0, "8 GB GB": 0, "NaN": 0, "Inf": 0, "9e99GB": 0, "0": 0,
	} {
		got, err := ParseSize(text)
		if got != want || (err == nil) != (want > 0) {
			t.Errorf("%q is %d, %v; expected %d", text, got, err, want)
		}
	}
}
