package faulty

import (
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"time"
)

// Status answers with a status, as registries do, and with headers, which
// follow each other as name, value.
func Status(code int, headers ...string) Fault {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		_, _ = io.Copy(io.Discard, r.Body)
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_, _ = fmt.Fprintf(w, `{"errors":[{"code":"FAULT","message":"this is fault %d"}]}`, code)
	}
}

// RetryAt is Status with a Retry-After that is a date, d after that of the
// server's own clock, which is wrong by years.
func RetryAt(code int, d time.Duration) Fault {
	now := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	return Status(code, "Date", now.Format(http.TimeFormat), "Retry-After", now.Add(d).Format(http.TimeFormat))
}

// Reset ends the connection after n bytes of the request's body, with a reset.
func Reset(n int64) Fault {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		_, _ = io.CopyN(io.Discard, r.Body, n)
		hangUp(w)
	}
}

// LostAnswer does what is asked, and ends the connection instead of saying so.
func LostAnswer(w http.ResponseWriter, r *http.Request, next http.Handler) {
	next.ServeHTTP(httptest.NewRecorder(), r)
	hangUp(w)
}

// LateStatus does what is asked, and then answers with a status all the same,
// as a proxy does that has not the time to wait.
func LateStatus(code int) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(httptest.NewRecorder(), r)
		Status(code)(w, r, next)
	}
}

func hangUp(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// answer has next answer, and returns that.
func answer(r *http.Request, next http.Handler) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	next.ServeHTTP(rec, r)
	if r.Method != http.MethodHead && rec.Header().Get("Content-Length") == "" {
		rec.Header().Set("Content-Length", strconv.Itoa(rec.Body.Len()))
	}
	return rec
}

func write(w http.ResponseWriter, rec *httptest.ResponseRecorder, body []byte) {
	maps.Copy(w.Header(), rec.Header())
	w.WriteHeader(rec.Code)
	_, _ = w.Write(body)
}

// Cut ends the connection after n bytes of the answer's body, with a reset.
func Cut(n int) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		rec := answer(r, next)
		write(w, rec, rec.Body.Bytes()[:min(n, rec.Body.Len())])
		_ = http.NewResponseController(w).Flush()
		hangUp(w)
	}
}

// Short ends the connection in good order after n bytes of the answer's body.
func Short(n int) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		rec := answer(r, next)
		write(w, rec, rec.Body.Bytes()[:min(n, rec.Body.Len())])
	}
}

// Body changes the body of the answer, and its length as well.
func Body(change func([]byte) []byte) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		rec := answer(r, next)
		body := change(rec.Body.Bytes())
		rec.Header().Set("Content-Length", strconv.Itoa(len(body)))
		write(w, rec, body)
	}
}

// Wrong flips a bit of the answer.
func Wrong(b []byte) []byte {
	if len(b) > 0 {
		b[len(b)/2] ^= 1
	}
	return b
}

// Header changes the headers of the answer.
func Header(change func(http.Header)) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		rec := answer(r, next)
		change(rec.Header())
		write(w, rec, rec.Body.Bytes())
	}
}

// Location changes where the client is told to go on.
func Location(change func(string) string) Fault {
	return Header(func(h http.Header) {
		if to := h.Get("Location"); to != "" {
			h.Set("Location", change(to))
		}
	})
}

// Redirect sends the client to the same path elsewhere.
func Redirect(code int, to string) Fault {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		_, _ = io.Copy(io.Discard, r.Body)
		http.Redirect(w, r, strings.TrimSuffix(to, "/")+r.URL.RequestURI(), code)
	}
}

// NoRange has the server ignore that only a part is asked for.
func NoRange(w http.ResponseWriter, r *http.Request, next http.Handler) {
	r.Header.Del("Range")
	next.ServeHTTP(w, r)
}

// Stall answers nothing for as long as the client waits, after n bytes of the
// answer's body, or nothing at all where n is negative.
func Stall(n int) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		_, _ = io.Copy(io.Discard, r.Body) // only then is it noticed that the client goes away
		if n >= 0 {
			rec := answer(r, next)
			write(w, rec, rec.Body.Bytes()[:min(n, rec.Body.Len())])
			_ = http.NewResponseController(w).Flush()
		}
		<-r.Context().Done()
	}
}

// Slow answers when ready is closed.
func Slow(ready <-chan struct{}) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		<-ready
		next.ServeHTTP(w, r)
	}
}
