package curve

import (
	"image/color"
	"math"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Chart is one quantity over another: the loss over the learning rate, the speed over
// the batch, results over a setting. Point.Step is the value on the horizontal axis.
type Chart struct {
	Title, X, Y string
	LogX, LogY  bool
	ZeroY       bool     // the vertical axis begins at zero
	Names       []string // of the places 0, 1, … on the horizontal axis, where it has no numbers
	Faint       []Point  // drawn thin, behind
	FaintDots   bool     // as dots instead
	Line        []Point  // drawn as a line
	Dots        []Point  // drawn as dots
	Mark        *Point   // stands out
	MarkName    string   // in the legend; empty: not there
	Labels      []Label  // beside points
}

// Label is what a point is called.
type Label struct {
	At   Point
	Text string
}

// WriteChart draws a chart into a .png or .svg file.
func WriteChart(name string, c Chart) error { return WriteCharts(name, []Chart{c}) }

// WriteCharts draws charts one above the other.
func WriteCharts(name string, charts []Chart) error {
	var panels []*plot.Plot
	for _, c := range charts {
		p, err := c.panel()
		if err != nil {
			return err
		}
		panels = append(panels, p)
	}
	return save(name, panels)
}

func (c Chart) panel() (*plot.Plot, error) {
	p := panel(c.Y)
	p.Title.Text = c.Title
	style(&p.Title.TextStyle, 12)
	p.Title.Padding = vg.Millimeter * 2
	p.X.Label.Text = c.X
	for _, axis := range []struct {
		log bool
		of  *plot.Axis
	}{{c.LogX, &p.X}, {c.LogY, &p.Y}} {
		if axis.log {
			axis.of.Scale = plot.LogScale{}
			axis.of.Tick.Marker = plot.TickerFunc(decades)
		}
	}
	if c.ZeroY {
		p.Y.Min = 0
	}
	if c.Names != nil {
		p.NominalX(c.Names...)
		style(&p.X.Tick.Label, 9)
	}
	behind := c.Faint
	if c.FaintDots {
		if err := dots(p, c.Faint, faint, 2.2); err != nil {
			return nil, err
		}
		behind = nil
	}
	if err := lines(p, series{"", behind, faint, 0.6, false}, series{"", c.Line, train, 1.6, len(c.Line) <= 40}); err != nil {
		return nil, err
	}
	if err := dots(p, c.Dots, train, 2.2); err != nil {
		return nil, err
	}
	if c.Mark != nil {
		if err := dots(p, []Point{*c.Mark}, test, 4); err != nil {
			return nil, err
		}
		thumbnail, err := plotter.NewScatter(plotter.XYs{{X: c.Mark.Step, Y: c.Mark.Value}})
		if err != nil {
			return nil, err
		}
		thumbnail.GlyphStyle = glyph(test, 4)
		if c.MarkName != "" {
			p.Legend.Add(c.MarkName, thumbnail)
		}
		p.Legend.Left = true
		p.Legend.XOffs = 4 * vg.Millimeter
	}
	if err := c.label(p); err != nil {
		return nil, err
	}
	p.X.Min, p.X.Max = padded(p.X.Min, p.X.Max, c.LogX)
	_, p.Y.Max = padded(p.Y.Min, p.Y.Max, c.LogY)
	if !c.ZeroY {
		p.Y.Min, _ = padded(p.Y.Min, p.Y.Max, c.LogY)
	}
	return p, nil
}

// label writes the labels above their points, those at the right end to the left of them.
func (c Chart) label(p *plot.Plot) error {
	if len(c.Labels) == 0 {
		return nil
	}
	var l plotter.XYLabels
	for _, x := range c.Labels {
		l.XYs, l.Labels = append(l.XYs, plotter.XY{X: x.At.Step, Y: x.At.Value}), append(l.Labels, x.Text)
	}
	drawn, err := plotter.NewLabels(l)
	if err != nil {
		return err
	}
	for i := range drawn.TextStyle {
		style(&drawn.TextStyle[i], 9)
		drawn.TextStyle[i].XAlign = draw.XCenter
		if at := (l.XYs[i].X - p.X.Min) / (p.X.Max - p.X.Min); at > 0.85 {
			drawn.TextStyle[i].XAlign = draw.XRight
		} else if at < 0.15 {
			drawn.TextStyle[i].XAlign = draw.XLeft
		}
	}
	drawn.Offset = vg.Point{Y: 2 * vg.Millimeter}
	p.Add(drawn)
	return nil
}

// padded is a range with room at its ends, for what is drawn there.
func padded(low, high float64, log bool) (float64, float64) {
	const share = 0.04
	if log {
		factor := math.Pow(high/low, share)
		return low / factor, high * factor
	}
	return low - share*(high-low), high + share*(high-low)
}

// decades marks powers of ten, and between them what is one digit times one.
func decades(low, high float64) []plot.Tick {
	var ticks []plot.Tick
	for e := math.Floor(math.Log10(low)); e <= math.Ceil(math.Log10(high)); e++ {
		for digit := 1.0; digit < 10; digit++ {
			v := digit * math.Pow(10, e)
			if v < low*(1-1e-9) || v > high*(1+1e-9) {
				continue
			}
			t := plot.Tick{Value: v}
			if digit == 1 {
				t.Label = strconv.FormatFloat(v, 'g', 2, 64)
				if e >= 0 && e < 6 {
					t.Label = strconv.FormatFloat(v, 'f', 0, 64)
				}
			}
			ticks = append(ticks, t)
		}
	}
	return ticks
}

func dots(p *plot.Plot, points []Point, c color.Color, size float64) error {
	if len(points) == 0 {
		return nil
	}
	xys := make(plotter.XYs, len(points))
	for i, q := range points {
		xys[i] = plotter.XY{X: q.Step, Y: q.Value}
	}
	s, err := plotter.NewScatter(xys)
	if err != nil {
		return err
	}
	s.GlyphStyle = glyph(c, size)
	p.Add(s)
	return nil
}

func glyph(c color.Color, size float64) draw.GlyphStyle {
	return draw.GlyphStyle{Color: c, Radius: vg.Points(size), Shape: draw.CircleGlyph{}}
}
