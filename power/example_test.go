package power_test

import (
	"fmt"
	"log"
	"time"

	"github.com/sinter-dl/sinter/power"
)

// What two hours of a card in a building in France stand for.
func ExampleRates_Usage() {
	france, err := power.FindRegion("France")
	if err != nil {
		log.Fatal(err)
	}
	rates := power.Rates{Region: france, PUE: 1.5, Tariff: power.Tariff{PerKWh: power.Money{Amount: 0.25, Currency: "EUR"}}}
	parts := []power.Part{{Component: "cuda:0", Joules: 7.2e6, Source: "NVML energy counter"}}
	begin := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	u := rates.Usage(parts, 0, begin, begin.Add(2*time.Hour))
	fmt.Printf("%g kWh, %.0f g of CO2e, %v\n", u.KWh(), u.Grams, u.Cost)
	// Output: 2 kWh, 132 g of CO2e, 0.75 EUR
}

// A budget ends a run before the step that would exceed it.
func ExampleBudget_Exceeded() {
	b, err := power.ParseBudget("5EUR, 1h")
	if err != nil {
		log.Fatal(err)
	}
	used := power.Usage{Seconds: 1800, Cost: power.Money{Amount: 4.98, Currency: "EUR"}}
	step := power.Usage{Seconds: 10, Cost: power.Money{Amount: 0.03, Currency: "EUR"}}
	what, yes := b.Exceeded(used, step)
	fmt.Println(yes, what)
	// Output: true the budget of 5.00 EUR would be exceeded: 4.98 EUR are used, and the next step takes about 0.030 EUR
}

// Joules of this machine while something runs, and how they are known.
func ExampleOpen() {
	meter := power.Open(power.Options{})
	defer meter.Close()
	// … work …
	meter.Sync()
	for _, p := range meter.Read() {
		if p.Estimated {
			fmt.Print("estimated ")
		}
		fmt.Printf("%s: %.1f J (%s)\n", p.Component, p.Joules, p.Source)
	}
}
