// Package power tells what a run consumes: joules, and what follows from them, grams of
// CO2e, litres of water and money.
//
// Three steps, each with types of its own.
//
// Measuring: a [Meter] counts joules since it was opened, apart for each [Part] of the
// machine, and each part says where its figure comes from. A counter of the device is
// preferred to a power that is integrated over time, and that to a model; what comes from
// a model is marked Estimated, and so is every sum that it goes into. What cannot be
// measured at all has no part, never one of 0 J.
//
// Pricing: [Rates] holds what a kilowatt-hour means at a place: the carbon intensity of the
// grid of a [Region] or of a [Series] of hours, the PUE and WUE of the building, a
// [Tariff] and the hourly rate of the device. [Rates.Usage] makes a [Usage] of joules.
// A [Ledger] does so while a run goes on, with the price of every moment.
//
// Limiting: a [Budget] of money, energy, carbon or time says when a run has to end.
//
// Units are SI and those of the trade: joules, watts, seconds; kilowatt-hours, grams of
// CO2e for each of them, litres. The files that users write, tariffs, carbon and
// prices, are read by the package powerfile, so that this one needs nothing but the
// standard library. docs/energy.md says how far each figure can be trusted.
package power

// JoulesPerKWh is how many joules a kilowatt-hour has.
const JoulesPerKWh = 3.6e6

// Part is what one component of the machine has consumed.
type Part struct {
	Component string  `json:"component"` // "gpu 0", "cpu package 0", "memory"
	Joules    float64 `json:"joules"`
	Source    string  `json:"source"`         // where the figure comes from: "NVML energy counter", "RAPL"
	Estimated bool    `json:"estimated"`      // by a model, not measured
	Note      string  `json:"note,omitempty"` // what else is to be known: that a device is gone
}
