package recipe

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// ParseSize reads a number of bytes: "8GB" and "500 MB" in powers of 1000, "8GiB" and
// "512MiB" in powers of 1024, "1.5e9" without a unit.
func ParseSize(text string) (int64, error) {
	s := strings.TrimSpace(text)
	number := strings.TrimRight(s, "kKmMgGtTpPeEiIbB \t")
	unit := strings.ToLower(strings.TrimSpace(s[len(number):]))
	factor := 1.0
	if prefix := strings.TrimSuffix(unit, "b"); prefix != "" {
		base := 1000.0
		if letter, binary := strings.CutSuffix(prefix, "i"); binary {
			base, prefix = 1024, letter
		}
		power := strings.Index("kmgtpe", prefix) + 1
		if power == 0 || len(prefix) != 1 {
			return 0, badSize(text)
		}
		factor = math.Pow(base, float64(power))
	}
	v, err := strconv.ParseFloat(number, 64)
	if bytes := v * factor; err == nil && v > 0 && bytes < 1<<62 {
		return int64(bytes), nil
	}
	return 0, badSize(text)
}

func badSize(text string) error {
	return fmt.Errorf("%q is no size; expected a number of bytes with a unit, such as 8GB, 512MiB or 1.5GB", text)
}
