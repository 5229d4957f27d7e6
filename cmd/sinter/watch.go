package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/sinter-dl/sinter/cmd/sinter/internal/history"
	"github.com/sinter-dl/sinter/cmd/sinter/internal/watch"
	"github.com/sinter-dl/sinter/train/recipe"
)

func watchCommand() *cobra.Command {
	var dir, listen string
	var open bool
	c := &cobra.Command{
		Use:   "watch [RUN…]",
		Short: "Look at runs in a browser, also while they train",
		Long: `Serve a page on this machine that shows runs and follows those that are being
trained: curves, comparisons, predictions, the confusion matrix, layers, events.
Without arguments it is all runs in --dir, and those that will be added; with
arguments it is the runs of these names, folders or patterns.

Only this machine can see the page. With --listen 0.0.0.0:6007 everyone who reaches
it over the network can. It only reads.`,
		Example: "  sinter watch\n  sinter watch 'lenet-*'\n  sinter watch --dir /data/runs --listen 127.0.0.1:8080",
		Args:    cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			host, _, err := net.SplitHostPort(listen)
			if err != nil {
				return &recipe.UsageError{Place: "--listen " + listen, Reason: "expected an address with a port, such as 127.0.0.1:6007"}
			}
			title, _ := filepath.Abs(dir)
			find := func() ([]*history.Run, error) { return findRuns(dir) }
			if len(args) > 0 {
				runs, err := pickRuns(dir, args)
				if err != nil {
					return err
				}
				title = plural(len(runs), "run")
				if len(runs) == 1 {
					title = runs[0].Dir
				}
				find = func() ([]*history.Run, error) { return append([]*history.Run(nil), runs...), nil }
			} else if _, err := find(); err != nil {
				return err
			}
			listener, err := listenNear(listen, c.Flags().Changed("listen"))
			if err != nil {
				return fmt.Errorf("the page cannot be served: %w", err)
			}
			url := "http://" + listener.Addr().String() + "/"
			if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
				_, port, _ := net.SplitHostPort(listener.Addr().String())
				url = "http://localhost:" + port + "/"
				fmt.Fprintln(c.ErrOrStderr(), "everyone who can reach this machine over the network can read these runs")
			}
			fmt.Fprintf(c.OutOrStdout(), "%s\n", url)
			fmt.Fprintln(c.ErrOrStderr(), "Ctrl-C ends it")
			if open {
				if err := openBrowser(url); err != nil {
					fmt.Fprintf(c.ErrOrStderr(), "the browser was not opened: %v\n", err)
				}
			}
			server := &http.Server{
				Handler:           (&watch.Server{Title: title, Find: find}).Handler(host),
				ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
			}
			stop := context.AfterFunc(c.Context(), func() { server.Close() })
			defer stop()
			if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("serving the page: %w", err)
			}
			return nil // Ctrl-C is how it ends
		},
	}
	c.Flags().StringVar(&dir, "dir", runsDir, "`FOLDER` in which the runs lie")
	c.Flags().StringVar(&listen, "listen", "127.0.0.1:6007", "`ADDRESS` to serve at; port 0 takes any that is free")
	c.Flags().BoolVar(&open, "open", false, "open the page in the browser")
	c.Flags().SortFlags = false
	return c
}

// listenNear listens at an address. Where the port is taken and was not asked for, it is
// one of the next.
func listenNear(address string, asked bool) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err == nil || asked || !errors.Is(err, syscall.EADDRINUSE) {
		return l, err
	}
	host, port, _ := net.SplitHostPort(address)
	first, _ := strconv.Atoi(port)
	for n := first + 1; n <= first+20; n++ {
		if l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(n))); err == nil {
			return l, nil
		}
	}
	return nil, err
}

func openBrowser(url string) error {
	name, args := "xdg-open", []string{url}
	switch runtime.GOOS {
	case "darwin":
		name = "open"
	case "windows":
		name, args = "rundll32", []string{"url.dll,FileProtocolHandler", url}
	}
	c := exec.Command(name, args...)
	if err := c.Start(); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(append([]string{name}, args...), " "), err)
	}
	go c.Wait()
	return nil
}
