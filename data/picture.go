package data

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"

	"golang.org/x/image/vp8"
	"golang.org/x/image/vp8l"
	"golang.org/x/image/webp"
)

// A picture is read as Pillow's exif_transpose and convert("RGB") would read it:
// turned as its EXIF data say, animations by their first frame, palettes looked up,
// inks mixed, of 16 bits the upper 8, and transparency left away, so that the
// colours count that the file gives for what is transparent. In one thing Pillow is
// not followed: of grey pixels of 16 bits it makes white whatever is above 255.

const (
	// maxPixels bounds what one picture can make the program allocate.
	maxPixels = 1 << 26
	// freePixels is what any picture may have. One that has more is believed
	// only if its file has a byte for every pixelsPerByte of them: no camera or
	// drawing program comes near that, but a few bytes can claim to be anything.
	freePixels    = 1 << 22
	pixelsPerByte = 1 << 10
)

// pictureFormat tells the format of a file by its first bytes, "" if it is none of
// those that are known here.
func pictureFormat(raw []byte) string {
	switch {
	case bytes.HasPrefix(raw, []byte("\xff\xd8\xff")):
		return "JPEG"
	case bytes.HasPrefix(raw, []byte("\x89PNG\r\n\x1a\n")):
		return "PNG"
	case bytes.HasPrefix(raw, []byte("GIF87a")), bytes.HasPrefix(raw, []byte("GIF89a")):
		return "GIF"
	case len(raw) >= 12 && string(raw[:4]) == "RIFF" && string(raw[8:12]) == "WEBP":
		return "WebP"
	}
	return ""
}

// pictureSize reads a picture's header and refuses one that is too large. The size
// is that of the pixels in the file, before they are turned.
func pictureSize(raw []byte, name string) (width, height int, err error) {
	cfg, err := pictureConfig(raw)
	switch {
	case len(raw) == 0:
		return 0, 0, fmt.Errorf("data: %s is empty, expected an image; copy it again or remove it", name)
	case pictureFormat(raw) == "":
		return 0, 0, fmt.Errorf("data: %s: not a PNG, JPEG, GIF or WebP image, whatever its name says; convert it or remove it", name)
	case err != nil:
		return 0, 0, badPicture(name, err)
	}
	pixels := int64(cfg.Width) * int64(cfg.Height)
	switch {
	case cfg.Width < 1 || cfg.Height < 1 || pixels > maxPixels:
		return 0, 0, fmt.Errorf("data: %s is %d×%d, expected at least 1 and at most %d pixels; make it smaller", name, cfg.Width, cfg.Height, maxPixels)
	case pixels > freePixels+pixelsPerByte*int64(len(raw)):
		return 0, 0, fmt.Errorf("data: %s says that it is %d×%d, but has %d bytes, which is more than %d pixels for each byte; it is damaged or made to exhaust memory: make it smaller or remove it", name, cfg.Width, cfg.Height, len(raw), pixelsPerByte)
	}
	return cfg.Width, cfg.Height, nil
}

func badPicture(name string, err error) error {
	return fmt.Errorf("data: %s: the image cannot be decoded: %w; copy it again or remove it", name, err)
}

func pictureConfig(raw []byte) (cfg image.Config, err error) {
	switch r := bytes.NewReader(raw); pictureFormat(raw) {
	case "JPEG":
		return jpeg.DecodeConfig(r)
	case "PNG":
		return png.DecodeConfig(r)
	case "GIF":
		return gif.DecodeConfig(r)
	case "WebP":
		return webpConfig(raw)
	}
	return cfg, nil
}

// webpConfig is the largest size that any chunk of the file gives: an extended file
// says its size first, but what is decoded is as large as the chunk of pixels says.
func webpConfig(raw []byte) (cfg image.Config, err error) {
	if cfg, err = webp.DecodeConfig(bytes.NewReader(raw)); err != nil {
		return cfg, err
	}
	err = chunks(raw[12:], binary.LittleEndian, func(kind string, body []byte) bool {
		switch kind {
		case "VP8 ":
			d := vp8.NewDecoder()
			d.Init(bytes.NewReader(body), len(body))
			if h, err := d.DecodeFrameHeader(); err == nil {
				cfg.Width, cfg.Height = max(cfg.Width, h.Width), max(cfg.Height, h.Height)
			}
		case "VP8L":
			if c, err := vp8l.DecodeConfig(bytes.NewReader(body)); err == nil {
				cfg.Width, cfg.Height = max(cfg.Width, c.Width), max(cfg.Height, c.Height)
			}
		}
		return true
	})
	return cfg, err
}

// chunks visits the chunks of a RIFF file (little-endian: kind, length, body, a
// byte of padding if that is odd) or of a PNG (big-endian: length, kind, body, sum)
// until visit returns false or a chunk is cut off, which is for the decoder to say.
func chunks(raw []byte, order binary.ByteOrder, visit func(kind string, body []byte) bool) error {
	riff := order.String() == binary.LittleEndian.String()
	for len(raw) >= 8 {
		kind, length := string(raw[:4]), uint64(order.Uint32(raw[4:]))
		if !riff {
			kind, length = string(raw[4:8]), uint64(order.Uint32(raw))
		}
		if length > uint64(len(raw)-8) {
			return nil
		}
		if !visit(kind, raw[8:8+length]) {
			return nil
		}
		skip := 8 + length + length&1
		if !riff {
			skip = 12 + length
		}
		raw = raw[min(skip, uint64(len(raw))):]
	}
	return nil
}

// decodePicture decodes an image file: *image.Gray, *image.YCbCr of full range, or
// *image.RGBA without transparency. Its bounds begin at 0, 0.
func decodePicture(raw []byte, name string) (image.Image, error) {
	w, h, err := pictureSize(raw, name)
	if err != nil {
		return nil, err
	}
	img, err := decodeFormat(raw)
	if err != nil {
		return nil, badPicture(name, err)
	}
	if b := img.Bounds(); b.Min != (image.Point{}) || b.Dx() > w || b.Dy() > h {
		return nil, badPicture(name, fmt.Errorf("it is %d×%d in the header and %v in what follows", w, h, b))
	}
	return turn(img, orientation(raw)), nil
}

func decodeFormat(raw []byte) (image.Image, error) {
	r := bytes.NewReader(raw)
	switch pictureFormat(raw) {
	case "JPEG":
		img, err := jpeg.Decode(r)
		if err != nil {
			return nil, err
		}
		return plain(img), nil
	case "PNG":
		img, err := png.Decode(r)
		if err != nil {
			return nil, err
		}
		return plain(img), nil
	case "GIF":
		return decodeGIF(raw)
	}
	img, err := webp.Decode(r)
	if err != nil {
		return nil, err
	}
	switch img := img.(type) {
	case *image.YCbCr:
		return studioRGB(img), nil
	case *image.NYCbCrA:
		return studioRGB(&img.YCbCr), nil
	}
	return plain(img), nil
}

// plain is a decoded image in one of the types of decodePicture.
func plain(img image.Image) image.Image {
	b := img.Bounds()
	out := image.NewRGBA(image.Rect(0, 0, b.Dx(), b.Dy()))
	set := func(i int, r, g, b uint8) {
		p := out.Pix[4*i : 4*i+4]
		p[0], p[1], p[2], p[3] = r, g, b, 255
	}
	n := b.Dx() * b.Dy() // an image that was just decoded has no gaps between its rows
	switch img := img.(type) {
	case *image.Gray, *image.YCbCr:
		return img
	case *image.Gray16:
		grey := image.NewGray(out.Rect)
		for i := range n {
			grey.Pix[i] = img.Pix[2*i]
		}
		return grey
	case *image.RGBA: // only from files without transparency
		return img
	case *image.NRGBA:
		for i := range n {
			img.Pix[4*i+3] = 255
		}
		return &image.RGBA{Pix: img.Pix, Stride: img.Stride, Rect: img.Rect}
	case *image.RGBA64: // only from files without transparency
		for i := range n {
			set(i, img.Pix[8*i], img.Pix[8*i+2], img.Pix[8*i+4])
		}
	case *image.NRGBA64:
		for i := range n {
			set(i, img.Pix[8*i], img.Pix[8*i+2], img.Pix[8*i+4])
		}
	case *image.CMYK:
		for i := range n {
			p := img.Pix[4*i : 4*i+4]
			light := 255 - int(p[3])
			mix := func(ink uint8) uint8 { // light - ink·light/255, rounded
				v := int(ink)*light + 128
				return uint8(max(0, light-(v+v>>8)>>8))
			}
			set(i, mix(p[0]), mix(p[1]), mix(p[2]))
		}
	case *image.Paletted:
		palette := make([]color.NRGBA, 256)
		for i, c := range img.Palette {
			palette[i] = color.NRGBAModel.Convert(c).(color.NRGBA)
		}
		for i := range n {
			c := palette[img.Pix[i]]
			set(i, c.R, c.G, c.B)
		}
	default:
		for i := range n {
			c := color.NRGBAModel.Convert(img.At(b.Min.X+i%b.Dx(), b.Min.Y+i/b.Dx())).(color.NRGBA)
			set(i, c.R, c.G, c.B)
		}
	}
	return out
}

// decodeGIF is the first frame of a GIF on its screen. The colour of what the frame
// does not cover is the transparent one, else the first.
func decodeGIF(raw []byte) (image.Image, error) {
	cfg, err := gif.DecodeConfig(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	img, err := gif.Decode(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	frame, ok := img.(*image.Paletted)
	if !ok {
		return nil, fmt.Errorf("a frame is a %T", img)
	}
	// The decoder puts nothing in place of the transparent colour.
	outside := 0
	for i, c := range frame.Palette {
		if _, _, _, a := c.RGBA(); a == 0 && len(frame.Palette) > 0 {
			outside = i
			if table, ok := gifColours(raw); ok && 3*i+3 <= len(table) {
				frame.Palette[i] = color.NRGBA{table[3*i], table[3*i+1], table[3*i+2], 255}
			}
		}
	}
	if frame.Rect == image.Rect(0, 0, cfg.Width, cfg.Height) {
		return plain(frame), nil
	}
	screen := image.NewPaletted(image.Rect(0, 0, cfg.Width, cfg.Height), frame.Palette)
	for i := range screen.Pix {
		screen.Pix[i] = uint8(outside)
	}
	part := frame.Rect.Intersect(screen.Rect)
	for y := part.Min.Y; y < part.Max.Y; y++ {
		copy(screen.Pix[screen.PixOffset(part.Min.X, y):screen.PixOffset(part.Max.X-1, y)+1], frame.Pix[frame.PixOffset(part.Min.X, y):])
	}
	return plain(screen), nil
}

// gifColours is the table of colours of a GIF's first frame: its own or the file's.
func gifColours(raw []byte) (table []byte, ok bool) {
	r := bytes.NewReader(raw)
	read := func(n int) []byte {
		b := make([]byte, n)
		if _, err := io.ReadFull(r, b); err != nil {
			b = nil
		}
		return b
	}
	colours := func(flags byte) []byte {
		if flags&0x80 == 0 {
			return table
		}
		return read(3 << (flags&7 + 1))
	}
	head := read(13) // signature, width and height, flags, background, aspect
	if head == nil {
		return nil, false
	}
	table = colours(head[10])
	for {
		switch kind := read(1); {
		case kind == nil:
			return nil, false
		case kind[0] == 0x21: // an extension: its label, blocks with their lengths, an empty one
			if read(1) == nil {
				return nil, false
			}
			for {
				n := read(1)
				if n == nil {
					return nil, false
				}
				if n[0] == 0 {
					break
				}
				if read(int(n[0])) == nil {
					return nil, false
				}
			}
		case kind[0] == 0x2c: // a frame: place and size, flags
			frame := read(9)
			if frame == nil {
				return nil, false
			}
			table = colours(frame[8])
			return table, table != nil
		default:
			return nil, false
		}
	}
}

// studioRGB turns the colours of WebP into RGB: BT.601 with luma from 16 to 235, in
// the fixed-point arithmetic of libwebp, to the bit, chroma spread by its "fancy"
// filter: of the four nearest samples weighted 9, 3, 3 and 1.
func studioRGB(img *image.YCbCr) *image.RGBA {
	w, h := img.Rect.Dx(), img.Rect.Dy()
	out := image.NewRGBA(image.Rect(0, 0, w, h))
	clip := func(v int) uint8 { return uint8(min(max(v>>6, 0), 255)) }
	for y := range h {
		// The rows of chroma above and below, the nearer one first.
		near, far := y/2, min(max(y/2-1+y%2*2, 0), (h-1)/2)
		for x := range w {
			nearX, farX := x/2, min(max(x/2-1+x%2*2, 0), (w-1)/2)
			spread := func(c []uint8) int {
				a, b := int(c[near*img.CStride+nearX]), int(c[near*img.CStride+farX])
				d, e := int(c[far*img.CStride+nearX]), int(c[far*img.CStride+farX])
				if nearX == farX { // at an edge there is nothing to the side
					return (3*a + d + 2) >> 2
				}
				return ((a+3*b+3*d+e+8)>>3 + a) >> 1
			}
			luma := int(img.Y[y*img.YStride+x]) * 19077 >> 8
			u, v := spread(img.Cb), spread(img.Cr)
			p := out.Pix[y*out.Stride+4*x:]
			p[0] = clip(luma + v*26149>>8 - 14234)
			p[1] = clip(luma - u*6419>>8 - v*13320>>8 + 8708)
			p[2] = clip(luma + u*33050>>8 - 17685)
			p[3] = 255
		}
	}
	return out
}

// orientation is how the EXIF data of a file say that it is to be turned, 1 to 8; 1
// is as it is, also where nothing is said.
func orientation(raw []byte) int {
	exif := []byte(nil)
	switch pictureFormat(raw) {
	case "JPEG":
		for at := 2; at+4 <= len(raw) && raw[at] == 0xff; {
			if raw[at+1] == 0xff { // padding
				at++
				continue
			}
			length := int(binary.BigEndian.Uint16(raw[at+2:]))
			if raw[at+1] == 0xda || length < 2 || at+2+length > len(raw) { // from here on pixels
				break
			}
			body := raw[at+4 : at+2+length]
			if b, ok := bytes.CutPrefix(body, []byte("Exif\x00\x00")); ok && raw[at+1] == 0xe1 {
				exif = b
				break
			}
			at += 2 + length
		}
	case "PNG":
		chunks(raw[8:], binary.BigEndian, func(kind string, body []byte) bool {
			if kind == "eXIf" {
				exif = body
			}
			return kind != "eXIf"
		})
	case "WebP":
		chunks(raw[12:], binary.LittleEndian, func(kind string, body []byte) bool {
			if kind == "EXIF" {
				exif = bytes.TrimPrefix(body, []byte("Exif\x00\x00"))
			}
			return kind != "EXIF"
		})
	}
	return exifOrientation(exif)
}

// exifOrientation finds the tag 0x0112 in the first directory of a TIFF header.
func exifOrientation(exif []byte) int {
	var order binary.ByteOrder
	switch {
	case bytes.HasPrefix(exif, []byte("II*\x00")):
		order = binary.LittleEndian
	case bytes.HasPrefix(exif, []byte("MM\x00*")):
		order = binary.BigEndian
	}
	if order == nil || len(exif) < 8 {
		return 1
	}
	at := uint64(order.Uint32(exif[4:]))
	if at+2 > uint64(len(exif)) {
		return 1
	}
	entries := exif[at+2:]
	for range order.Uint16(exif[at:]) {
		if len(entries) < 12 {
			return 1
		}
		// Tag, type (3 is a number of 16 bits), count, value.
		if order.Uint16(entries) == 0x0112 && order.Uint16(entries[2:]) == 3 {
			if o := int(order.Uint16(entries[8:])); o >= 1 && o <= 8 {
				return o
			}
			return 1
		}
		entries = entries[12:]
	}
	return 1
}

// turn makes an image upright that was taken in the given EXIF orientation.
func turn(img image.Image, orientation int) image.Image {
	if orientation == 1 {
		return img
	}
	src, ok := img.(*image.RGBA)
	if !ok {
		src = toRGBA(img)
	}
	w, h := src.Rect.Dx(), src.Rect.Dy()
	outW, outH := w, h
	if orientation >= 5 {
		outW, outH = h, w
	}
	out := image.NewRGBA(image.Rect(0, 0, outW, outH))
	for y := range outH {
		for x := range outW {
			fromX, fromY := x, y
			if orientation >= 5 {
				fromX, fromY = y, x
			}
			switch orientation {
			case 2, 7, 3, 8:
				fromX = w - 1 - fromX
			}
			switch orientation {
			case 3, 4, 6, 7:
				fromY = h - 1 - fromY
			}
			copy(out.Pix[y*out.Stride+4*x:][:4], src.Pix[fromY*src.Stride+4*fromX:][:4])
		}
	}
	return out
}

// toRGBA is an image of decodePicture as RGBA.
func toRGBA(img image.Image) *image.RGBA {
	b := img.Bounds()
	out := image.NewRGBA(b)
	switch img := img.(type) {
	case *image.RGBA:
		return img
	case *image.Gray:
		for i := range b.Dx() * b.Dy() {
			v := img.Pix[i/b.Dx()*img.Stride+i%b.Dx()]
			out.Pix[4*i], out.Pix[4*i+1], out.Pix[4*i+2], out.Pix[4*i+3] = v, v, v, 255
		}
	case *image.YCbCr:
		for y := range b.Dy() {
			for x := range b.Dx() {
				c := img.COffset(x, y)
				p := out.Pix[y*out.Stride+4*x:]
				p[0], p[1], p[2] = color.YCbCrToRGB(img.Y[img.YOffset(x, y)], img.Cb[c], img.Cr[c])
				p[3] = 255
			}
		}
	default:
		panic(fmt.Sprintf("data: decodePicture made a %T", img))
	}
	return out
}
