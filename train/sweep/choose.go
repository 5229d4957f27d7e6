package sweep

// Choose marks the Pareto front, gives each point its cost, and recommends the one that
// costs least. Where two cost the same it is the one that came first.
//
// The cost of a sample is η·E + (1−η)·MaxPower·T, the energy that it takes and the energy
// that the device could have drawn in its time, weighed (You, Chung and Chowdhury: Zeus,
// NSDI '23, equation 2).
func Choose(r *Result) {
	if r.MaxPower == 0 {
		for _, p := range r.Points {
			r.MaxPower = max(r.MaxPower, p.Watts)
		}
	}
	r.Recommended = nil
	for i := range r.Points {
		p := &r.Points[i]
		if p.Steps == 0 {
			continue
		}
		p.Cost = r.Weight*p.JoulesPerSample + (1-r.Weight)*r.MaxPower/p.SamplesPerSecond
		p.Pareto = true
		for _, q := range r.Points {
			if q.Steps > 0 && q.dominates(p) {
				p.Pareto = false
			}
		}
		if r.Recommended == nil || p.Cost < r.Recommended.Cost {
			r.Recommended = p
		}
	}
}

// dominates tells whether q is no worse than p in speed and energy, and better in one.
func (q *Point) dominates(p *Point) bool {
	return q.SamplesPerSecond >= p.SamplesPerSecond && q.JoulesPerSample <= p.JoulesPerSample &&
		(q.SamplesPerSecond > p.SamplesPerSecond || q.JoulesPerSample < p.JoulesPerSample)
}
