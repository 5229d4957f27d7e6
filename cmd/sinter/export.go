package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/sinter-dl/sinter/cmd/sinter/internal/export"
	"github.com/sinter-dl/sinter/cmd/sinter/internal/monitor"
	"github.com/sinter-dl/sinter/train/recipe"
	"github.com/sinter-dl/sinter/train/rundir"
)

func exportCommand() *cobra.Command {
	var listen string
	var once, dashboard bool
	c := &cobra.Command{
		Use:   "export",
		Short: "Serve metrics of devices and runs to Prometheus",
		Long: `Serve what 'sinter top' shows as metrics for Prometheus, at /metrics: devices, this
machine, and the runs of Sinter that train on it. What a device does not tell has no
metric. It needs no rights of its own; runs are those of this user, of root those of
all users.

--once prints the metrics instead, for the textfile collector of Prometheus' node
exporter, for example. --dashboard prints a dashboard of them for Grafana to import.`,
		Example: "  sinter export --listen :9400\n  sinter export --once > sinter.prom\n  sinter export --dashboard > sinter.json",
		Args:    exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			if dashboard {
				_, err := c.OutOrStdout().Write(export.Dashboard)
				return err
			}
			host, _, err := net.SplitHostPort(listen)
			if err != nil {
				return &recipe.UsageError{Place: "--listen " + listen, Reason: "expected an address with a port, such as :9400 or 127.0.0.1:9400"}
			}
			reader := monitor.Open(monitor.Options{})
			defer reader.Close()
			collector := &export.Collector{Reader: reader, Version: rundir.Version(), Say: func(problem string) {
				fmt.Fprintln(c.ErrOrStderr(), "sinter: "+problem)
			}}
			if once {
				return collector.Write(c.OutOrStdout())
			}
			listener, err := net.Listen("tcp", listen)
			if err != nil {
				return fmt.Errorf("metrics cannot be served: %w; another address can be named with --listen", err)
			}
			for _, problem := range reader.Problems() {
				fmt.Fprintln(c.ErrOrStderr(), "sinter: "+problem)
			}
			address := listener.Addr().String()
			if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
				_, port, _ := net.SplitHostPort(address)
				address = "localhost:" + port
				fmt.Fprintln(c.ErrOrStderr(), "everyone who can reach this machine over the network can read its metrics")
			}
			fmt.Fprintf(c.OutOrStdout(), "http://%s/metrics\n", address)
			return serve(c.Context(), listener, collector.Handler())
		},
	}
	c.Flags().StringVar(&listen, "listen", ":9400", "`ADDRESS` to serve at; port 0 takes any that is free")
	c.Flags().BoolVar(&once, "once", false, "print the metrics, then end")
	c.Flags().BoolVar(&dashboard, "dashboard", false, "print a dashboard for Grafana, then end")
	c.Flags().SortFlags = false
	return c
}

// serve answers until the context ends, then finishes what it has begun to answer. That
// is no error: Ctrl-C and SIGTERM are how it ends.
func serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serving metrics: %w", err)
	case <-ctx.Done():
	}
	patience, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := server.Shutdown(patience); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("serving metrics: %w", err)
	}
	return nil
}
