package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/cmd/sinter/internal/ui"
	"github.com/sinter-dl/sinter/hardware"
)

func devicesCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "devices",
		Short: "List what there is to compute on, and what is missing",
		Long: `List the devices that --device takes, with their memory, versions and types; those
that are found and cannot be used, with the reason and the remedy; and the
libraries of vendors, found or missing, with what each brings and how to get it.
The device that 'auto' takes is marked with a star.`,
		Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			l := listDevices()
			if asJSON {
				text, err := json.MarshalIndent(l, "", "  ")
				if err == nil {
					fmt.Fprintln(c.OutOrStdout(), string(text))
				}
				return err
			}
			l.print(c.OutOrStdout())
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "one JSON object on standard output")
	return c
}

// deviceList is what 'sinter devices' tells.
type deviceList struct {
	Auto      string                    `json:"auto"` // the device that auto takes
	Why       string                    `json:"why,omitempty"`
	Devices   []deviceEntry             `json:"devices"`
	Absent    map[string]string         `json:"absent"` // backend without any device → why
	Libraries map[string][]libraryEntry `json:"libraries"`
}

type deviceEntry struct {
	Name        string   `json:"name"`
	Aliases     []string `json:"aliases,omitempty"`
	Backend     string   `json:"backend"`
	Model       string   `json:"model"`
	Kind        string   `json:"kind"`
	Version     string   `json:"version,omitempty"`
	Driver      string   `json:"driver,omitempty"`
	Units       int      `json:"units,omitempty"`
	MemoryTotal int64    `json:"memory_total_bytes,omitempty"`
	MemoryFree  *int64   `json:"memory_free_bytes"` // null if that is not known
	DTypes      []string `json:"dtypes"`
	Matrix      []string `json:"matrix_units,omitempty"` // precisions that they multiply
	MIG         string   `json:"mig,omitempty"`
	Catalogue   string   `json:"catalogue,omitempty"` // its key there, which 'sinter plan' knows it by
	Usable      bool     `json:"usable"`
	Problem     string   `json:"problem,omitempty"`
	Remedy      string   `json:"remedy,omitempty"`
}

type libraryEntry struct {
	Name    string `json:"name"`
	Path    string `json:"path,omitempty"`
	Version string `json:"version,omitempty"`
	Brings  string `json:"brings"`
	Problem string `json:"problem,omitempty"`
	Remedy  string `json:"remedy,omitempty"`
}

func listDevices() *deviceList {
	l := &deviceList{Absent: map[string]string{}, Libraries: map[string][]libraryEntry{}}
	l.Auto, l.Why = sinter.AutoDevice()
	for _, d := range sinter.Devices() {
		e := deviceEntry{
			Name: d.Name, Aliases: d.Aliases, Backend: d.Backend, Model: d.Model, Kind: string(d.Kind), Version: d.Version, Driver: d.Driver,
			Units: d.Units, MemoryTotal: d.Total, DTypes: []string{}, Matrix: d.Matrix, MIG: d.MIG,
			Usable: d.Problem == "", Problem: d.Problem, Remedy: d.Remedy,
		}
		if d.Free >= 0 {
			e.MemoryFree = &d.Free
		}
		if card, ok := hardware.Match(d.Model); ok {
			e.Catalogue = card.Key
		}
		for _, t := range d.DTypes {
			e.DTypes = append(e.DTypes, t.String())
		}
		l.Devices = append(l.Devices, e)
	}
	for backend, err := range sinter.DeviceProblems() {
		l.Absent[backend] = err.Error()
	}
	for backend, list := range sinter.DeviceLibraries() {
		for _, lib := range list {
			l.Libraries[backend] = append(l.Libraries[backend], libraryEntry(lib))
		}
	}
	return l
}

// devicesWidth is how wide the list is at most.
const devicesWidth = 80

// print writes a block for each device. What is said of it stands in one column, which
// names are to the left of.
func (l *deviceList) print(w io.Writer) {
	column := 0
	for _, d := range l.Devices {
		column = max(column, min(14, utf8.RuneCountInString(d.Name)))
	}
	for name := range l.Absent {
		column = max(column, len(name))
	}
	for _, list := range l.Libraries {
		for _, lib := range list {
			column = max(column, min(14, len(lib.Name)))
		}
	}
	column += 4
	block := func(head string, lines ...string) {
		room := column
		if utf8.RuneCountInString(head) > column-2 { // a name longer than the column has a line of its own
			fmt.Fprintln(w, strings.TrimRight(head, " "))
			head = ""
		}
		for _, line := range lines {
			for _, part := range wrap(line, devicesWidth-room) {
				fmt.Fprintf(w, "%-*s%s\n", room, head, part)
				head = ""
			}
		}
	}
	for _, d := range l.Devices {
		mark := "  "
		if d.Name == l.Auto {
			mark = "* "
		}
		block(mark+d.Name, d.lines()...)
		fmt.Fprintln(w)
	}
	if len(l.Devices) > 1 && l.Why != "" {
		block("* auto", "takes "+l.Auto+": "+l.Why)
		fmt.Fprintln(w)
	}
	for _, backend := range slices.Sorted(maps.Keys(l.Absent)) {
		block("  "+backend, "no device: "+l.Absent[backend])
		fmt.Fprintln(w)
	}
	for _, backend := range slices.Sorted(maps.Keys(l.Libraries)) {
		fmt.Fprintf(w, "Libraries for %s\n\n", backend)
		for _, lib := range l.Libraries[backend] {
			block("  "+lib.Name, lib.lines()...)
		}
		fmt.Fprintln(w)
	}
}

func (d *deviceEntry) lines() (lines []string) {
	join := func(parts ...string) {
		parts = slices.DeleteFunc(parts, func(p string) bool { return p == "" })
		if len(parts) > 0 {
			lines = append(lines, strings.Join(parts, ", "))
		}
	}
	say := func(format, value string) string {
		if value == "" {
			return ""
		}
		return fmt.Sprintf(format, value)
	}
	units := map[string]string{"cpu": "processor", "cuda": "multiprocessor", "opencl": "compute unit"}[d.Backend]
	if d.Units > 0 {
		units = plural(d.Units, units)
	} else {
		units = ""
	}
	join(d.Model, units)
	version := d.Version
	if d.Backend == "cuda" {
		version = say("compute capability %s", d.Version)
	}
	join(version, say("driver %s", d.Driver), say("MIG %s", d.MIG))
	switch {
	case d.MemoryTotal > 0 && d.MemoryFree != nil:
		lines = append(lines, fmt.Sprintf("%s of memory, %s free", ui.Bytes(d.MemoryTotal), ui.Bytes(*d.MemoryFree)))
	case d.MemoryTotal > 0:
		lines = append(lines, fmt.Sprintf("%s of memory", ui.Bytes(d.MemoryTotal)))
	}
	if len(d.DTypes) > 0 {
		lines = append(lines, "types "+strings.Join(d.DTypes, " "))
	}
	if len(d.Matrix) > 0 {
		lines = append(lines, "fast products in "+strings.Join(d.Matrix, " "))
	}
	if card, err := hardware.Find(d.Catalogue); err == nil {
		lines = append(lines, "in the catalogue as "+card.Key+": at most "+peaks(card))
	}
	for _, a := range d.Aliases {
		lines = append(lines, "also called "+a)
	}
	if d.Problem != "" {
		lines = append(lines, "CANNOT BE USED: "+d.Problem)
	}
	if d.Remedy != "" {
		lines = append(lines, "remedy: "+d.Remedy)
	}
	return lines
}

// peaks is what a card can do, as its vendor says.
func peaks(c hardware.Card) string {
	s := ui.SI(c.Peak["fp32"]) + "FLOP/s in fp32"
	if v, ok := c.Peak["fp16"]; ok {
		s += ", " + ui.SI(v) + "FLOP/s in fp16"
	}
	s += fmt.Sprintf(", %sB/s of memory, %.0f W", ui.SI(c.Bandwidth), c.Power)
	if c.Slice != nil {
		s += " (its share)"
	}
	return s
}

func (lib *libraryEntry) lines() []string {
	var lines []string
	switch {
	case lib.Path == "":
		lines = append(lines, "missing; it "+lib.Brings)
	case lib.Problem != "":
		lines = append(lines, strings.TrimSpace(lib.Version+" "+lib.Path), "CANNOT BE USED: "+lib.Problem)
	default:
		lines = append(lines, strings.TrimSpace(lib.Version+" "+lib.Path))
	}
	switch {
	case lib.Remedy == "":
	case lib.Path == "":
		lines = append(lines, "get it: "+lib.Remedy)
	case lib.Problem != "":
		lines = append(lines, "remedy: "+lib.Remedy)
	}
	return lines
}

// wrap breaks a line between words so that none is longer than width, unless a word is.
func wrap(text string, width int) (lines []string) {
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
			lines = append(lines, line)
			line = ""
		}
		line = strings.TrimPrefix(line+" "+word, " ")
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}
