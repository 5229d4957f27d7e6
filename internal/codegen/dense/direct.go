package dense

import "github.com/sinter-dl/sinter/internal/codegen"

// Convolutions in groups of a few channels (depthwise ones have one) are no products to
// speak of: there a thread adds up one result, or, for the gradient of the weights, whose
// sums are long, a group does, its threads sharing the last axis of the positions.

// fewChannels tells whether groups are that small.
func (g *geometry) fewChannels() bool { return g.groups > 1 && g.cg*g.kg <= 16 }

// launchDirect writes the convolution without tiles.
func (c *convolution) launchDirect() (codegen.Launch, error) {
	w := newWriter(c.target, "conv_direct", 256, &c.a, &c.g, &c.out)
	c.declare(w)
	w.size("M", c.m)
	w.size("N", c.n)
	w.size("GROUPS", c.groups)
	numbers := c.k // values of s
	for _, a := range c.axes {
		numbers /= max(1, a.steps)
	}
	w.size("NUMBERS", numbers)
	place := func(id string) {
		w.P("const i32 col = %s %% N, row = %s / N %% M, batch = %s / N / M;", id, id, id)
		w.P("A += (i64)batch * A_GROUP + A_ORIGIN + row * A_ROW; G += (i64)batch * G_GROUP; C += (i64)batch * C_GROUP + C_ORIGIN;")
		c.digits(w, "h", "u", "U", "col")
		w.P("G += h * G_COLUMN;")
		for i := range c.axes {
			w.P("const i32 at%d = u%d * USTEP%d + ORIGIN%d;", i, i, i, i)
		}
		w.P("%s sum = 0;", c.acc)
	}
	last := len(c.axes) - 1
	// add adds what a step contributes.
	add := func() {
		for i := range c.axes {
			w.P("const i32 c%d = at%d + v%d * VSTEP%d;", i, i, i, i)
		}
		w.P("if (%s) sum = %s;", c.inside("c%[1]d"), mad(c.acc,
			load(c.d, "A", "s * A_STEP + "+c.sum("v%[1]d * A_%[1]d")), load(c.d, "G", "s * G_STEP + "+c.sum("c%[1]d * G_%[1]d")), "sum"))
	}
	at := "row * C_ROW + h * C_COLUMN + " + c.sum("u%[1]d * C_%[1]d")
	if !c.along {
		w.grid = ceil(c.m*c.n*c.groups, w.group)
		end := c.ending(w)
		coords := c.coords(w, end)
		w.P("const i32 id = GROUP(0) * %d + LOCAL(0);", w.group)
		w.open("if (id < M * N * GROUPS)")
		place("id")
		w.P("for (%s s = 0; s < NUMBERS; s++)", w.index)
		for i := range c.axes {
			w.P("for (i32 v%d = 0; v%d < V%d; v%d++)", i, i, i, i)
		}
		w.open("")
		add()
		w.close()
		end.finish(w, at, "sum", func() []string { return coords("row") })
		w.close()
		return w.launch()
	}
	lines := numbers
	for _, a := range c.axes[:last] {
		lines *= max(1, a.steps)
	}
	w.size("RESULTS", c.m*c.n*c.groups)
	w.size("LINES", ceil(lines, c.splits))
	w.size("ALL", lines)
	w.grid = c.m * c.n * c.groups * c.splits
	w.shared(c.acc, "R", 256)
	w.P("const i32 tid = LOCAL(0), split = GROUP(0) / RESULTS, id = GROUP(0) - split * RESULTS;")
	end := c.ending(w)
	coords := c.coords(w, end)
	place("id")
	w.P("const i32 end = min_i32(ALL, (split + 1) * LINES);")
	w.open("for (i32 line = split * LINES + tid / 32; line < end; line += %d)", w.group/32)
	w.P("%s s = line;", w.index)
	for i := last - 1; i >= 0; i-- {
		w.P("const i32 v%d = s %% V%d; s /= V%d;", i, i, i)
	}
	w.open("for (i32 v%d = tid %% 32; v%d < V%d; v%d += 32)", last, last, last, last)
	add()
	w.close()
	w.close()
	w.P("R[tid] = sum;")
	w.P("BARRIER();")
	for n := w.group / 2; n > 0; n /= 2 {
		w.P("if (tid < %d) R[tid] += R[tid + %d];", n, n)
		w.P("BARRIER();")
	}
	w.open("if (tid == 0)")
	end.finish(w, at, "R[0]", func() []string { return coords("row") })
	w.close()
	return w.launch()
}
