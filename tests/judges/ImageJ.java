import ij.IJ;
import ij.ImagePlus;
import ij.gui.EllipseRoi;
import ij.gui.OvalRoi;
import ij.gui.PolygonRoi;
import ij.gui.Roi;
import ij.gui.RotatedRectRoi;
import ij.gui.ShapeRoi;
import ij.io.FileSaver;
import ij.io.Opener;
import ij.io.RoiDecoder;
import ij.io.RoiEncoder;
import ij.plugin.frame.RoiManager;
import ij.process.ByteProcessor;
import ij.process.ImageProcessor;
import java.awt.Rectangle;
import java.io.ByteArrayOutputStream;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.zip.ZipEntry;
import java.util.zip.ZipInputStream;
import java.util.zip.ZipOutputStream;

/** See imagej.py. */
public class ImageJ {
  private static final Pattern NAME = Pattern.compile("#(\\d+)(-(\\d+))?$");

  public static void main(String[] args) throws Exception {
    if (args[0].equals("make")) make(args[1], args[2]);
    else compare(args[1], args[2]);
    System.exit(0);
  }

  /** Counts the pixels in which ROIs of a zip differ from a label image. */
  private static void compare(String image, String rois) throws Exception {
    ImagePlus labels = new Opener().openImage(image);
    RoiManager manager = new RoiManager(false);
    int wrong = 0, pixels = 0, composites = 0, misplaced = 0, count = 0;
    ZipInputStream zip = new ZipInputStream(new FileInputStream(rois));
    ZipEntry entry;
    while ((entry = zip.getNextEntry()) != null) {
      ByteArrayOutputStream bytes = new ByteArrayOutputStream();
      zip.transferTo(bytes);
      Roi roi = new RoiDecoder(bytes.toByteArray(), entry.getName()).getRoi();
      Matcher name = NAME.matcher(roi.getName());
      name.find();
      int label = Integer.parseInt(name.group(1));
      int plane = name.group(3) == null ? 1 : Integer.parseInt(name.group(3));
      int z = (plane - 1) % labels.getNSlices() + 1;
      int t = (plane - 1) / labels.getNSlices() + 1;
      int meant = labels.getStackIndex(1, z, t);
      // what a click on it in the ROI Manager shows
      labels.setPosition(1);
      manager.add(labels, roi, count);
      manager.select(labels, count++);
      if (labels.getCurrentSlice() != meant) misplaced++;
      if (roi.getType() == Roi.COMPOSITE) composites++;
      ImageProcessor ids = labels.getStack().getProcessor(meant);
      for (int y = 0; y < ids.getHeight(); y++)
        for (int x = 0; x < ids.getWidth(); x++) {
          boolean is = ids.getf(x, y) == label;
          if (contains(roi, x, y) != is) wrong++;
          if (is) pixels++;
        }
    }
    System.out.println("ImageJ " + IJ.getVersion() + ", " + labels.getNChannels()
        + " channels, " + labels.getNSlices() + " slices, " + labels.getNFrames()
        + " frames: " + count + " ROIs, " + composites + " composite, " + wrong + " of "
        + pixels + " pixels wrong, " + misplaced + " on a wrong slice");
  }

  /** Writes ROIs of all kinds, and the label image that ImageJ makes of them. */
  private static void make(String image, String rois) throws Exception {
    Roi oval = new OvalRoi(120, 5, 21, 30);
    Roi half = new Roi(130, 5, 40, 15);
    Roi[] made = {
      new Roi(2, 3, 20, 11),
      new OvalRoi(30, 4, 25, 40),
      new OvalRoi(60, 4, 30, 30),
      new EllipseRoi(20, 60, 50, 80, 0.4),
      new RotatedRectRoi(70, 60, 100, 85, 14),
      new PolygonRoi(new float[] {110.3f, 140.9f, 128.2f, 113.6f},
          new float[] {60.2f, 66.7f, 95.1f, 80.4f}, Roi.POLYGON),
      new ShapeRoi(oval).not(new ShapeRoi(half)),
    };
    ImageProcessor labels = new ByteProcessor(160, 110);
    ZipOutputStream zip = new ZipOutputStream(new FileOutputStream(rois));
    for (int i = 0; i < made.length; i++) {
      zip.putNextEntry(new ZipEntry("cells#" + (i + 1) + ".roi"));
      made[i].setName("cells#" + (i + 1));
      zip.write(RoiEncoder.saveAsByteArray(made[i]));
      zip.closeEntry();
      for (int y = 0; y < labels.getHeight(); y++)
        for (int x = 0; x < labels.getWidth(); x++)
          if (contains(made[i], x, y)) labels.set(x, y, i + 1);
    }
    zip.close();
    new FileSaver(new ImagePlus("labels", labels)).saveAsTiff(image);
  }

  private static boolean contains(Roi roi, int x, int y) {
    ImageProcessor mask = roi.getMask();
    Rectangle box = roi.getBounds();
    return box.contains(x, y) && (mask == null || mask.get(x - box.x, y - box.y) != 0);
  }
}
