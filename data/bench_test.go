package data

import "testing"

// BenchmarkLoader is what an example costs that lies in memory: images of MNIST's size in
// shuffled batches.
func BenchmarkLoader(b *testing.B) {
	const n = 60_000
	ds, err := ByteImages(make([]byte, n*28*28), []int{1, 28, 28}, make([]int64, n))
	if err != nil {
		b.Fatal(err)
	}
	l := &Loader{Dataset: ds, Batch: 64, Shuffle: true, Workers: 1}
	for done := 0; done < b.N; {
		for batch := range l.Batches(b.Context()) {
			if done += batch.Size; done >= b.N {
				break
			}
		}
	}
	if err := l.Err(); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N), "ns/example")
}
