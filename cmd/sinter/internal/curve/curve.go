// Package curve draws the curves of a training run: the loss of every step,
// smoothed, with the test loss over it, and below them the metric on the test set.
package curve

import (
	"fmt"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Point is a measurement at a step.
type Point struct{ Step, Value float64 }

// Run is what to draw. Any part may be empty.
type Run struct {
	Title       string
	Loss        []Point // of single steps
	TestLoss    []Point
	Metric      string // the name of what follows
	TrainMetric []Point
	TestMetric  []Point
}

var (
	faint  = color.RGBA{R: 0xa9, G: 0xc6, B: 0xe8, A: 0xff}
	train  = color.RGBA{R: 0x1f, G: 0x5f, B: 0xa8, A: 0xff}
	test   = color.RGBA{R: 0xd9, G: 0x5f, B: 0x02, A: 0xff}
	ink    = color.RGBA{R: 0x33, G: 0x33, B: 0x33, A: 0xff}
	gridly = color.RGBA{R: 0xe6, G: 0xe6, B: 0xe6, A: 0xff}
)

// Write draws a run into a .png or .svg file.
func Write(name string, run Run) error {
	panels, err := run.panels()
	if err != nil {
		return err
	}
	return save(name, panels)
}

// save draws panels one above the other.
func save(name string, panels []*plot.Plot) (err error) {
	ext := strings.ToLower(filepath.Ext(name))
	if ext != ".png" && ext != ".svg" {
		return fmt.Errorf("%s: curves can be drawn as .png or .svg", name)
	}
	const width = 16 * vg.Centimeter
	height := 7*vg.Centimeter*vg.Length(len(panels)) + 0.5*vg.Centimeter
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if ext == ".png" {
		c := vgimg.NewWith(vgimg.UseWH(width, height), vgimg.UseDPI(110))
		arrange(panels, draw.New(c))
		_, err = vgimg.PngCanvas{Canvas: c}.WriteTo(f)
	} else {
		c := vgsvg.New(width, height)
		arrange(panels, draw.New(c))
		_, err = c.WriteTo(f)
	}
	if err != nil {
		return err
	}
	return f.Close()
}

// arrange draws the panels one above the other with a common left edge.
func arrange(panels []*plot.Plot, c draw.Canvas) {
	tiles := draw.Tiles{Rows: len(panels), Cols: 1, PadX: vg.Centimeter / 4, PadY: vg.Centimeter / 2,
		PadTop: vg.Centimeter / 4, PadBottom: vg.Centimeter / 4, PadLeft: vg.Centimeter / 4, PadRight: vg.Centimeter / 2}
	rows := make([][]*plot.Plot, len(panels))
	for i, p := range panels {
		rows[i] = []*plot.Plot{p}
	}
	for i, row := range plot.Align(rows, tiles, c) {
		panels[i].Draw(row[0])
	}
}

func (run Run) panels() ([]*plot.Plot, error) {
	loss := panel("loss")
	loss.Title.Text = run.Title
	style(&loss.Title.TextStyle, 12)
	loss.Title.Padding = vg.Millimeter * 2
	smooth := smoothed(run.Loss)
	thin := thinned(run.Loss, 2000)
	if positive(thin) && positive(run.TestLoss) && spread(smooth) > 20 {
		loss.Y.Scale = plot.LogScale{}
		loss.Y.Tick.Marker = plot.LogTicks{Prec: -1}
	}
	if err := lines(loss, series{"", thin, faint, 0.6, false}, series{"training", thinned(smooth, 2000), train, 1.6, false},
		series{"test", run.TestLoss, test, 1.6, true}); err != nil {
		return nil, err
	}
	panels := []*plot.Plot{loss}
	if len(run.TrainMetric)+len(run.TestMetric) > 0 {
		metric := panel(run.Metric)
		if err := lines(metric, series{"training", run.TrainMetric, train, 1.6, true}, series{"test", run.TestMetric, test, 1.6, true}); err != nil {
			return nil, err
		}
		metric.Legend.Top = false
		panels = append(panels, metric)
	}
	last := 1.0
	for _, points := range [][]Point{run.Loss, run.TestLoss, run.TrainMetric, run.TestMetric} {
		if n := len(points); n > 0 {
			last = max(last, points[n-1].Step)
		}
	}
	for _, p := range panels {
		p.X.Min, p.X.Max = 0, last
	}
	panels[len(panels)-1].X.Label.Text = "step"
	return panels, nil
}

func panel(label string) *plot.Plot {
	p := plot.New()
	p.Y.Label.Text = label
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		style(&axis.Label.TextStyle, 11)
		style(&axis.Tick.Label, 9)
		axis.Color = ink
		axis.Tick.Color = ink
	}
	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Color = gridly, gridly
	p.Add(grid)
	p.Legend.Top = true
	p.Legend.Padding = vg.Millimeter
	p.Legend.XOffs = -2 * vg.Millimeter
	style(&p.Legend.TextStyle, 10)
	return p
}

func style(t *draw.TextStyle, size vg.Length) {
	t.Font = font.From(t.Font, size)
	t.Font.Variant = "Sans"
	t.Color = ink
}

type series struct {
	name   string
	points []Point
	color  color.Color
	width  float64
	marked bool // with a dot at each measurement
}

func lines(p *plot.Plot, all ...series) error {
	for _, s := range all {
		xys := make(plotter.XYs, 0, len(s.points))
		for _, pt := range s.points {
			if !math.IsNaN(pt.Value) && !math.IsInf(pt.Value, 0) {
				xys = append(xys, plotter.XY{X: pt.Step, Y: pt.Value})
			}
		}
		if len(xys) == 0 {
			continue
		}
		line, dots, err := plotter.NewLinePoints(xys)
		if err != nil {
			return err
		}
		line.Color, line.Width = s.color, vg.Points(s.width)
		dots.Color, dots.Shape, dots.Radius = s.color, draw.CircleGlyph{}, vg.Points(2.2)
		p.Add(line)
		if s.marked {
			p.Add(dots)
		}
		if s.name != "" {
			p.Legend.Add(s.name, line)
		}
	}
	return nil
}

// smoothed is the running mean over the last hundredth of the run, at least five
// steps.
func smoothed(points []Point) []Point {
	window := max(5, len(points)/100)
	out := make([]Point, len(points))
	for i := range points {
		from := max(0, i-window+1)
		var sum float64
		for _, p := range points[from : i+1] {
			sum += p.Value
		}
		out[i] = Point{points[i].Step, sum / float64(i+1-from)}
	}
	return out
}

// thinned keeps at most n points, evenly.
func thinned(points []Point, n int) []Point {
	if len(points) <= n {
		return points
	}
	out := make([]Point, n)
	for i := range out {
		out[i] = points[i*(len(points)-1)/(n-1)]
	}
	return out
}

func positive(points []Point) bool {
	for _, p := range points {
		if !(p.Value > 0) {
			return false
		}
	}
	return true
}

// spread is the ratio of the largest value to the smallest.
func spread(points []Point) float64 {
	if len(points) == 0 {
		return 1
	}
	low, high := points[0].Value, points[0].Value
	for _, p := range points {
		low, high = min(low, p.Value), max(high, p.Value)
	}
	return high / low
}
