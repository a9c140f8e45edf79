// How ImageJ shows a label TIFF: range, colour table, and how many labelled pixels are
// black on the screen, which should be none. By hand (Debian: default-jdk-headless,
// libij-java):
//
//   java -cp /usr/share/java/ij.jar tests/judges/LabelTiff.java cells.tif
import ij.ImagePlus;
import ij.io.Opener;
import ij.process.ColorProcessor;
import ij.process.ImageProcessor;
import java.util.Arrays;

public class LabelTiff {
  public static void main(String[] files) {
    System.setProperty("java.awt.headless", "true");
    for (String file : files) {
      ImagePlus image = new Opener().openImage(file);
      ImageProcessor first = image.getProcessor();
      System.out.println(
          file + ": " + image.getBitDepth() + " bits, (x, y, c, z, t) "
          + Arrays.toString(image.getDimensions()) + ", shown from "
          + image.getDisplayRangeMin() + " to " + image.getDisplayRangeMax() + ", pixel "
          + image.getCalibration().pixelWidth + " " + image.getCalibration().getUnit());
      long labelled = 0, black = 0, sum = 0;
      for (int slice = 1; slice <= image.getStackSize(); slice++) {
        image.setSlice(slice);
        ImageProcessor plane = image.getProcessor();
        ColorProcessor shown = (ColorProcessor) plane.convertToRGB();
        for (int i = 0; i < plane.getPixelCount(); i++) {
          sum += plane.get(i);
          if (plane.get(i) == 0) continue;
          labelled++;
          if ((shown.get(i) & 0xffffff) == 0) black++;
        }
      }
      int[] table = new int[3];
      for (int i = 0; i < 3; i++) table[i] = first.getLut().getRGB(i) & 0xffffff;
      System.out.printf(
          "  colours 0, 1, 2: %06x %06x %06x; labelled %d (values add up to %d), black %d%n",
          table[0], table[1], table[2], labelled, sum, black);
    }
  }
}
