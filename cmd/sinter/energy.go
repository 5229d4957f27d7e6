package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/sinter-dl/sinter/cmd/sinter/internal/history"
	"github.com/sinter-dl/sinter/cmd/sinter/internal/ui"
	"github.com/sinter-dl/sinter/power"
	"github.com/sinter-dl/sinter/train"
	"github.com/sinter-dl/sinter/train/recipe"
)

// What a run consumes, for people to read. A figure that a model has made is marked.

// approximately stands before a figure of the live line that is estimated.
const approximately = "≈"

// estimated marks a figure that is.
func estimated(text string, yes bool) string {
	if yes {
		return "estimated " + text
	}
	return text
}

// grams writes a mass of CO2e.
func grams(g float64) string {
	if g >= 1e6 {
		return ui.Measure(g/1e6, "t")
	}
	return ui.Measure(g, "g")
}

// energyNow is the power and what a sample takes, for the live line; empty where they are
// not known.
func energyNow(s *train.State) (watts, perSample string) {
	if len(s.Usage.Parts) == 0 {
		return "", ""
	}
	about := ""
	for _, p := range s.Usage.Parts {
		if p.Estimated {
			about = approximately
		}
	}
	if s.Watts > 0 {
		watts = about + ui.Measure(s.Watts, "W")
	}
	if j := s.Phases.JoulesPerSample(); j > 0 {
		perSample = about + ui.Measure(j, "J") + "/sample"
	}
	return watts, perSample
}

// energyRows are the rows of a table on what a run has used.
func energyRows(c *recipe.Consumption) (rows [][]string) {
	if c == nil {
		return nil
	}
	row := func(name, format string, args ...any) {
		rows = append(rows, []string{name, fmt.Sprintf(format, args...)})
	}
	measured, guessed := c.MeasuredEnergy()
	if measured {
		idle := ""
		if c.IdleJoules > 0 {
			idle = fmt.Sprintf("; an idle machine takes %s of it", ui.Energy(c.IdleJoules))
			if c.IdleWatts > 0 {
				idle += fmt.Sprintf(" (%s, %s)", ui.Measure(c.IdleWatts, "W"), c.IdleSource)
			}
		}
		row("energy", "%s%s", estimated(ui.Energy(c.Joules), guessed), idle)
		for _, p := range c.Parts {
			note := ""
			if p.Note != "" {
				note = "; " + p.Note
			}
			row("  "+ui.Plain(p.Component), "%s, %s%s", estimated(ui.Energy(p.Joules), p.Estimated), p.Source, note)
		}
		if c.JoulesPerStep > 0 {
			per := fmt.Sprintf("%s a step, %s a sample", ui.Energy(float64(c.JoulesPerStep)), ui.Energy(float64(c.JoulesPerSample)))
			if c.JoulesPerEpoch > 0 {
				per += fmt.Sprintf("; %s an epoch with its evaluations", ui.Energy(float64(c.JoulesPerEpoch)))
			}
			row("  per", "%s", estimated(per, guessed))
		}
		row("CO2e", "%s%s", estimated(grams(c.Grams), c.Estimated), sourceOf(c.Usage, "carbon: "))
		if c.Litres > 0 {
			row("water", "%s", estimated(ui.Measure(c.Litres, "l"), guessed))
		}
	}
	if !c.Cost.IsZero() {
		text := c.Cost.String()
		if !c.EnergyCost.IsZero() && !c.DeviceCost.IsZero() {
			text += fmt.Sprintf(": %v for energy%s, %v for the device%s", c.EnergyCost, sourceOf(c.Usage, "tariff: "), c.DeviceCost, sourceOf(c.Usage, "device: "))
		} else {
			text += sourceOf(c.Usage, "tariff: ") + sourceOf(c.Usage, "device: ")
		}
		row("cost", "%s", estimated(text, guessed && !c.EnergyCost.IsZero()))
	}
	if b, err := power.ParseBudget(c.Budget); err == nil {
		var parts []string
		for _, a := range b.Left(c.Usage) {
			parts = append(parts, fmt.Sprintf("%v (%s)", a, ui.Percent(a.Used/a.Limit)))
		}
		row("budget", "%s", strings.Join(parts, "; "))
	}
	phase := func(name, what string, p train.Phase) {
		if p.Seconds >= 0.5 {
			text := ui.Duration(time.Duration(p.Seconds * float64(time.Second)))
			if measured {
				text += ", " + estimated(ui.Energy(p.Joules), guessed)
			}
			row(name, "%s %s", text, what)
		}
	}
	phase("  waited", "for the guard", c.Phases.Pause)
	phase("  lost", "in steps that had to be made again", c.Phases.Lost)
	for _, note := range c.Notes { // run.json has the whole of it
		short, _, _ := strings.Cut(note, "; ")
		row("  note", "%s", short)
	}
	return rows
}

// sourceOf is where a figure comes from, in brackets.
func sourceOf(u power.Usage, kind string) string {
	for _, s := range u.Sources {
		if text, ok := strings.CutPrefix(s, kind); ok {
			text, _, _ = strings.Cut(text, ";")
			return " (" + text + ")"
		}
	}
	return ""
}

// energyText is the energy of a run and what it cost, in a few words; a dash where they are
// not known.
func energyText(o history.Results) string {
	if o.Energy == nil {
		return "—"
	}
	text := ""
	if measured, guessed := o.Energy.MeasuredEnergy(); measured {
		text = ui.Energy(o.Energy.Joules)
		if guessed {
			text = approximately + text
		}
	}
	if c := o.Energy.Cost; !c.IsZero() {
		text = strings.TrimPrefix(text+", ", ", ") + c.String()
	}
	return cmp.Or(text, "—")
}
