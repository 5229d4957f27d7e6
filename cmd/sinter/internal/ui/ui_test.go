package ui

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestNumbers(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{Count(0), "0"}, {Count(999), "999"}, {Count(61706), "61,706"}, {Count(-1234567), "-1,234,567"},
		{Number(0), "0.0000"}, {Number(0.04217), "0.0422"}, {Number(2.3026), "2.303"}, {Number(8412.4), "8,412"},
		{Number(0.00012), "1.20e-04"}, {Number(-34.567), "-34.57"}, {Number(math.NaN()), "NaN"},
		{Percent(0.98514), "98.51 %"},
		{Bytes(512), "512 B"}, {Bytes(1536), "1.5 KiB"}, {Bytes(212 << 20), "212 MiB"}, {Bytes(1 << 30), "1.0 GiB"},
		{Duration(850 * time.Millisecond), "850 ms"}, {Duration(7340 * time.Millisecond), "7.3 s"},
		{Duration(59980 * time.Millisecond), "1 min 00 s"}, {Duration(125 * time.Second), "2 min 05 s"}, {Duration(3725 * time.Second), "1 h 02 min"},
		{Clock(41500 * time.Millisecond), "0:42"}, {Clock(3725 * time.Second), "1:02:05"},
		{Measure(0, "W"), "0 W"}, {Measure(61.23, "W"), "61.2 W"}, {Measure(0.0005556, "J"), "556 µJ"}, {Measure(0.99951, "J"), "1.00 J"}, {Measure(999.6, "W"), "1.00 kW"},
		{Measure(-2.5e6, "J"), "-2.50 MJ"}, {Measure(9.996e-3, "g"), "10.0 mg"}, {Measure(3e-11, "g"), "0.0300 ng"}, {Measure(2e18, "J"), "2000 PJ"}, {Measure(math.NaN(), "J"), "NaN J"},
		{Energy(8.068), "8.07 J"}, {Energy(35000), "35.0 kJ"}, {Energy(36000), "0.0100 kWh"}, {Energy(3.6e6 * 12.345), "12.3 kWh"}, {Energy(3.6e9), "1000 kWh"},
		{Bar(0, 4), "────"}, {Bar(0.5, 4), "━━──"}, {Bar(0.6, 4), "━━╸─"}, {Bar(1, 4), "━━━━"}, {Bar(7, 2), "━━"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, expected %q", c.got, c.want)
		}
	}
}

func TestTable(t *testing.T) {
	var b strings.Builder
	Table(&b, [][]string{{"accuracy", "98.51 %"}, {"é", "1", "x"}, {"lonely"}})
	if want := "accuracy   98.51 %\né          1         x\nlonely\n"; b.String() != want {
		t.Errorf("got %q, expected %q", b.String(), want)
	}
}
