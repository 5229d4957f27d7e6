package power

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// CPU is what a model of processor takes at full load.
type CPU struct {
	Name      string  `json:"name"`
	Watts     float64 `json:"watts"`   // thermal design power of a socket
	Threads   int     `json:"threads"` // of a socket
	Estimated bool    `json:"estimated"`
	Source    string  `json:"source"`
}

// FindCPU looks up what /proc/cpuinfo calls a processor: "AMD EPYC 7763 64-Core Processor",
// "Intel(R) Xeon(R) CPU E5-2686 v4 @ 2.30GHz". ok is false for one that is not in the table.
func FindCPU(model string) (c CPU, ok bool) {
	words := cpuWords(model)
	for n := min(4, len(words)); n >= 1; n-- { // the longest name first
		for i := 0; i+n <= len(words); i++ {
			if c, ok := cpus[strings.Join(words[i:i+n], " ")]; ok {
				return c, true
			}
		}
	}
	return CPU{}, false
}

// cpuWords is a model's name in lower case without what does not tell models apart.
func cpuWords(model string) []string {
	model, _, _ = strings.Cut(strings.ToLower(model), "@")
	model = strings.NewReplacer("(r)", " ", "(tm)", " ", "(c)", " ", "®", " ", "™", " ", "neoverse-", "neoverse ", "ampereone", "ampere-1").Replace(model)
	var words []string
	for _, w := range strings.Fields(model) {
		if w == "cpu" || w == "processor" || strings.HasSuffix(w, "-core") {
			continue
		}
		words = append(words, w)
	}
	return words
}

// cpus is the processors of cpuTable by the words of their names.
var cpus = func() map[string]CPU {
	m := make(map[string]CPU)
	for _, family := range cpuTable {
		for row := range strings.SplitSeq(family.rows, ",") {
			fields := strings.Fields(row)
			n := len(fields)
			watts, err1 := strconv.ParseFloat(fields[n-2], 64)
			threads, err2 := strconv.Atoi(fields[n-1])
			if err1 != nil || err2 != nil {
				panic("power: row " + row) // a mistake in the table, found by any test
			}
			name := strings.TrimSpace(family.name + " " + strings.Join(fields[:n-2], " "))
			m[strings.Join(cpuWords(name), " ")] = CPU{Name: name, Watts: watts, Threads: threads, Estimated: family.estimated, Source: family.source}
		}
	}
	return m
}()

const (
	intelARK   = "Intel ARK (TDP, processor base power)"
	amdSpecs   = "AMD product specifications (default TDP)"
	sibling    = "estimate: the catalogue model with as many cores of that generation"
	appleGuess = "estimate: what reviews measured of the whole chip under load; Apple names no TDP"
	armGuess   = "estimate by one product with these cores"
)

// cpuTable is the thermal design power of a socket in watts and its threads, with both
// threads of each core where there are two. Vendors' sheets; what a vendor does not name
// is an estimate.
var cpuTable = []struct {
	name, source string
	estimated    bool
	rows         string
}{
	{"Xeon", intelARK, false, `E5-2620 v2 80 12, E5-2630 v2 80 12, E5-2650 v2 95 16, E5-2660 v2 95 20, E5-2670 v2 115 20, E5-2680 v2 115 20, E5-2690 v2 130 20, E5-2695 v2 115 24, E5-2697 v2 130 24,
		E5-1620 v3 140 8, E5-1650 v3 140 12, E5-2620 v3 85 12, E5-2630 v3 85 16, E5-2640 v3 90 16, E5-2650 v3 105 20, E5-2660 v3 105 20, E5-2670 v3 120 24, E5-2680 v3 120 24, E5-2690 v3 135 24,
		E5-2695 v3 120 28, E5-2697 v3 145 28, E5-2698 v3 135 32, E5-2699 v3 145 36,
		E5-1620 v4 140 8, E5-1650 v4 140 12, E5-1680 v4 140 16, E5-2620 v4 85 16, E5-2630 v4 85 20, E5-2640 v4 90 20, E5-2650 v4 105 24, E5-2660 v4 105 28, E5-2680 v4 120 28, E5-2690 v4 135 28,
		E5-2695 v4 120 36, E5-2697 v4 145 36, E5-2698 v4 135 40, E5-2699 v4 145 44,
		E3-1230 v5 80 8, E3-1240 v5 80 8, E-2136 80 12, E-2288G 95 16, W-2145 140 16, W-2245 155 16, W-2295 165 36, W-3275 205 56, W-3375 270 76, w5-2465X 200 32, w7-2495X 225 48, w9-3495X 350 112,
		6960P 500 144, 6972P 500 192, 6980P 500 256, 6787P 350 172`},
	{"Xeon Bronze", intelARK, false, `3104 85 6, 3106 85 8`},
	{"Xeon Silver", intelARK, false, `4108 85 16, 4110 85 16, 4114 85 20, 4116 85 24, 4208 85 16, 4210 85 20, 4210R 100 20, 4214 85 24, 4214R 100 24, 4215 85 16, 4216 100 32,
		4309Y 105 16, 4310 120 24, 4314 135 32, 4316 150 40, 4410Y 150 24, 4416+ 165 40`},
	{"Xeon Gold", intelARK, false, `5118 105 24, 5120 105 28, 6126 125 24, 6128 115 12, 6130 125 32, 6132 140 28, 6134 130 16, 6136 150 24, 6138 125 40, 6140 140 36, 6142 150 32, 6146 165 24, 6148 150 40,
		6150 165 36, 6152 140 44, 6154 200 36, 5215 85 20, 5217 115 16, 5218 125 32, 5220 125 36, 5222 105 8, 6226 125 24, 6226R 150 32, 6230 125 40, 6230R 150 52, 6234 130 16, 6238 140 44, 6238R 165 56,
		6240 150 36, 6240R 165 48, 6242 150 32, 6242R 205 40, 6244 150 16, 6246 165 24, 6246R 205 32, 6248 150 40, 6248R 205 48, 6252 150 48, 6254 200 36, 6258R 205 56,
		5315Y 140 16, 5317 150 24, 5318Y 165 48, 5320 185 52, 6326 185 32, 6330 205 56, 6334 165 16, 6336Y 185 48, 6338 205 64, 6342 230 48, 6346 205 32, 6348 235 56, 6354 205 36,
		5416S 150 32, 5418Y 185 48, 5420+ 205 56, 6426Y 185 32, 6430 270 64, 6438Y+ 205 64, 6442Y 225 48, 6444Y 270 32, 6448Y 225 64, 6454S 270 64, 6458Q 350 64, 6530 270 64, 6542Y 250 48, 6548Y+ 250 64`},
	{"Xeon Platinum", intelARK, false, `8160 150 48, 8164 150 52, 8168 205 48, 8170 165 52, 8176 165 56, 8180 205 56, 8253 125 32, 8256 105 8, 8260 165 48, 8268 205 48, 8270 205 52, 8276 165 56, 8280 205 56,
		8352Y 205 64, 8358 250 64, 8360Y 250 72, 8362 265 64, 8368 270 76, 8380 270 80,
		8452Y 300 72, 8458P 350 88, 8460Y+ 300 80, 8462Y+ 300 64, 8468 350 96, 8470 350 104, 8480+ 350 112, 8490H 350 120,
		8558 330 96, 8562Y+ 300 64, 8568Y+ 350 96, 8570 350 112, 8580 350 120, 8592+ 350 128`},
	// What clouds have is made for them, and on no sheet.
	{"Xeon", sibling, true, `E5-2673 v4 135 40, E5-2686 v4 145 36`},
	{"Xeon Platinum", sibling, true, `8171M 165 52, 8175M 205 48, 8259CL 165 48, 8272CL 205 52, 8275CL 205 48, 8370C 250 64, 8375C 250 64, 8473C 350 104, 8480C 350 112, 8480CL 350 112, 8481C 350 112, 8488C 350 96, 8573C 350 96`},
	{"EPYC", sibling, true, `7B12 225 128, 7B13 225 128, 7R13 225 96, 7R32 225 96, 7V12 225 128, 7V13 280 128, 7V73X 280 128, 9B14 360 192, 9R14 360 192, 9V74 360 160, 9V84 360 192`},

	{"Core", intelARK, false, `i3-8100 65 4, i3-10100 65 8, i3-12100 60 8, i5-6500 65 4, i5-7500 65 4, i5-8400 65 6, i5-8600K 95 6, i5-9400 65 6, i5-9400F 65 6, i5-9600K 95 6, i5-10400 65 12, i5-10600K 125 12,
		i5-11400 65 12, i5-11600K 125 12, i5-12400 65 12, i5-12400F 65 12, i5-12600K 125 16, i5-13400 65 16, i5-13600K 125 20, i5-14600K 125 20, i5-8250U 15 8, i5-8265U 15 8, i5-10210U 15 8,
		i7-4770 84 8, i7-4790 84 8, i7-4790K 88 8, i7-5820K 140 12, i7-5960X 140 16, i7-6700 65 8, i7-6700K 91 8, i7-6850K 140 12, i7-6900K 140 16, i7-6950X 140 20, i7-7700 65 8, i7-7700K 91 8,
		i7-7820X 140 16, i7-8700 65 12, i7-8700K 95 12, i7-9700 65 8, i7-9700K 95 8, i7-9800X 165 16, i7-10700 65 16, i7-10700K 125 16, i7-11700 65 16, i7-11700K 125 16, i7-12700 65 20, i7-12700K 125 20,
		i7-13700 65 24, i7-13700K 125 24, i7-14700 65 28, i7-14700K 125 28, i7-8550U 15 8, i7-8565U 15 8, i7-10510U 15 8, i7-9750H 45 12, i7-10750H 45 12, i7-11800H 45 16, i7-12700H 45 20, i7-13700H 45 20,
		i9-7900X 140 20, i9-7980XE 165 36, i9-9900 65 16, i9-9900K 95 16, i9-9900KS 127 16, i9-9940X 165 28, i9-9980XE 165 36, i9-9880H 45 16, i9-10850K 125 20, i9-10900 65 20, i9-10900K 125 20,
		i9-10900X 165 20, i9-10920X 165 24, i9-10940X 165 28, i9-10980XE 165 36, i9-11900 65 16, i9-11900K 125 16, i9-12900 65 24, i9-12900K 125 24, i9-12900KS 150 24, i9-12900H 45 20,
		i9-13900 65 32, i9-13900K 125 32, i9-13900KS 150 32, i9-13900H 45 20, i9-13900HX 55 32, i9-14900 65 32, i9-14900K 125 32, i9-14900KS 150 32, i9-14900HX 55 32,
		Ultra 5 245K 125 14, Ultra 7 265K 125 20, Ultra 9 285K 125 24, Ultra 7 155H 28 22`},

	{"EPYC", amdSpecs, false, `7251 120 16, 7301 170 32, 7351 170 32, 7351P 170 32, 7401 170 48, 7401P 170 48, 7451 180 48, 7501 170 64, 7551 180 64, 7551P 180 64, 7601 180 64,
		7232P 120 16, 7252 120 16, 7262 155 16, 7272 120 24, 7282 120 32, 7302 155 32, 7302P 155 32, 7352 155 48, 7402 180 48, 7402P 180 48, 7452 155 64, 7502 180 64, 7502P 180 64, 7532 200 64, 7542 225 64,
		7552 200 96, 7642 225 96, 7662 225 128, 7702 200 128, 7702P 200 128, 7742 225 128, 7H12 280 128, 7F32 180 16, 7F52 240 32, 7F72 240 48,
		72F3 180 16, 7313 155 32, 7313P 155 32, 7343 190 32, 73F3 240 32, 7413 180 48, 7443 200 48, 7443P 200 48, 74F3 240 48, 7453 225 56, 7513 200 64, 7543 225 64, 7543P 225 64, 75F3 280 64, 7643 225 96,
		7663 240 112, 7713 225 128, 7713P 225 128, 7763 280 128, 7373X 240 32, 7473X 240 48, 7573X 280 64, 7773X 280 128,
		9124 200 32, 9174F 320 32, 9184X 320 32, 9224 200 48, 9254 200 48, 9274F 320 48, 9334 210 64, 9354 280 64, 9354P 280 64, 9374F 320 64, 9384X 320 64, 9454 290 96, 9454P 290 96, 9474F 360 96,
		9534 280 128, 9554 360 128, 9554P 360 128, 9634 290 168, 9654 360 192, 9654P 360 192, 9684X 400 192, 9734 340 224, 9754 360 256, 9754S 360 128,
		8024P 90 16, 8124P 125 32, 8224P 160 48, 8324P 180 64, 8434P 200 96, 8534P 200 128,
		9015 125 16, 9115 125 32, 9135 200 32, 9175F 320 32, 9255 200 48, 9275F 320 48, 9335 210 64, 9355 280 64, 9365 300 72, 9375F 320 64, 9455 300 96, 9475F 400 96, 9535 300 128, 9555 360 128, 9565 400 144,
		9575F 400 128, 9645 320 192, 9655 400 192, 9745 400 256, 9755 500 256, 9825 390 288, 9845 390 320, 9965 500 384`},
	{"Ryzen", amdSpecs, false, `5 1600 65 12, 7 1700 65 16, 7 1700X 95 16, 7 1800X 95 16, 5 2600 65 12, 5 2600X 95 12, 7 2700 65 16, 7 2700X 105 16, 5 3600 65 12, 5 3600X 95 12, 7 3700X 65 16, 7 3800X 105 16,
		9 3900X 105 24, 9 3950X 105 32, 5 5600 65 12, 5 5600G 65 12, 5 5600X 65 12, 7 5700G 65 16, 7 5700X 65 16, 7 5800X 105 16, 7 5800X3D 105 16, 9 5900X 105 24, 9 5950X 105 32,
		5 7600 65 12, 5 7600X 105 12, 7 7700 65 16, 7 7700X 105 16, 7 7800X3D 120 16, 9 7900 65 24, 9 7900X 170 24, 9 7900X3D 120 24, 9 7950X 170 32, 9 7950X3D 120 32,
		5 9600X 65 12, 7 9700X 65 16, 7 9800X3D 120 16, 9 9900X 120 24, 9 9950X 170 32, 9 9950X3D 170 32,
		7 4700U 15 8, 7 4800H 45 16, 5 5500U 15 12, 7 5700U 15 16, 7 5800H 45 16, 7 5800U 15 16, 9 5900HX 45 16, 7 6800H 45 16`},
	{"Ryzen Threadripper", amdSpecs, false, `1920X 180 24, 1950X 180 32, 2950X 180 32, 2970WX 250 48, 2990WX 250 64, 3960X 280 48, 3970X 280 64, 3990X 280 128, 7960X 350 48, 7970X 350 64, 7980X 350 128,
		9970X 350 64, 9980X 350 128, PRO 3975WX 280 64, PRO 3995WX 280 128, PRO 5955WX 280 32, PRO 5965WX 280 48, PRO 5975WX 280 64, PRO 5995WX 280 128,
		PRO 7965WX 350 48, PRO 7975WX 350 64, PRO 7985WX 350 128, PRO 7995WX 350 192, PRO 9995WX 350 192`},

	{"Apple", appleGuess, true, `M1 20 8, M1 Pro 35 10, M1 Max 40 10, M1 Ultra 80 20, M2 22 8, M2 Pro 40 12, M2 Max 45 12, M2 Ultra 90 24, M3 22 8, M3 Pro 30 12, M3 Max 55 16, M4 25 10, M4 Pro 45 14, M4 Max 65 16`},
	{"Neoverse N1", armGuess + " (Ampere Altra Q80-30)", true, ` 210 80`},
	{"Neoverse V1", armGuess + " (AWS Graviton3)", true, ` 100 64`},
	{"Neoverse V2", armGuess + " (NVIDIA Grace, with its memory)", true, ` 250 72`},
	{"Ampere-1", "Ampere product brief (AmpereOne A192-32X)", false, ` 400 192`},
}

const (
	wattsPerThread = 4.0 // of a processor that is in no table, as CodeCarbon has it
	idleShare      = 0.1 // of its full power that a processor takes idle
)

// loadWatts is the power of a processor at a load u between 0 and 1, by what Fan, Weber and
// Barroso have measured of servers ("Power provisioning for a warehouse-sized computer", ISCA
// 2007): idle + (full - idle)(2u - u^1.4). It is above a straight line between, because the first
// threads to work wake what all of them share, and clock higher.
func loadWatts(full, u float64) float64 {
	u = min(max(u, 0), 1)
	return full * (idleShare + (1-idleShare)*(2*u-math.Pow(u, 1.4)))
}

// cpuModel is what the model says of a machine's processors: watts at full load of the part of
// them that this process may use.
func cpuModel(model string, sockets, threads int, usable float64, shared bool) (full float64, source string) {
	threads = max(1, threads)
	if usable <= 0 || usable > float64(threads) {
		usable = float64(threads)
	}
	c, ok := FindCPU(model)
	switch {
	case !ok && model == "":
		return wattsPerThread * usable, fmt.Sprintf("model: %g W for each of %g threads, for the processor is not known", wattsPerThread, usable)
	case !ok:
		return wattsPerThread * usable, fmt.Sprintf("model: %g W for each of %g threads, for the table has no %s", wattsPerThread, usable, strings.Join(strings.Fields(model), " "))
	}
	sockets = max(1, sockets)
	kind := "TDP"
	if c.Estimated {
		kind = "estimated TDP"
	}
	if shared {
		// A virtual machine sees threads of its own, whatever sockets it makes of them.
		share := min(usable/float64(c.Threads), float64(sockets))
		return c.Watts * share, fmt.Sprintf("model: %s of %s, %g W, for %g of its %d threads", kind, c.Name, c.Watts, usable, c.Threads)
	}
	return c.Watts * float64(sockets) * usable / float64(threads), fmt.Sprintf("model: %s of %d × %s, %g W each", kind, sockets, c.Name, c.Watts)
}

// memoryWatts is what memory of so many bytes takes: 5 W for a module, as CodeCarbon has it, of
// modules of the size that is usual in machines with so much. Of a machine that is shared it is
// the part of modules of 32 GiB.
func memoryWatts(bytes int64, shared bool) (watts float64, source string) {
	const module = 5.0
	gib := float64(bytes) / (1 << 30)
	if shared {
		return gib / 32 * module, fmt.Sprintf("model: %g W for 32 GiB, of %.3g GiB", module, gib)
	}
	size := 64.0
	switch {
	case gib <= 33:
		size = 8
	case gib <= 130:
		size = 16
	case gib <= 520:
		size = 32
	}
	// What the firmware keeps for itself is missing from the total.
	modules := math.Ceil(gib/size - 0.1)
	modules = max(1, modules)
	return modules * module, fmt.Sprintf("model: %g W for each of about %g modules", module, modules)
}
