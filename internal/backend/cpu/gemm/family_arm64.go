package gemm

func machineLevels() []level {
	n := newFamily[float32]()
	n.exact = false
	n.mr, n.nr, n.mc, n.wide, n.masked = 8, 12, 336, 8, false
	n.kernel = func(a *args, col bool) {
		if col {
			kernNEONCol[a.mr](a)
		} else {
			kernNEONRow[a.mr](a)
		}
	}
	return []level{newLevel("neon", n, newFamily[float64]())}
}
