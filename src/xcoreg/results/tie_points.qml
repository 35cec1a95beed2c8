<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis version="3.16" styleCategories="Symbology">
  <renderer-v2 type="categorizedSymbol" attr="status" enableorderby="0" forceraster="0" symbollevels="0">
    <categories>
      <category value="OK" symbol="0" label="OK: the answer was confirmed" render="true"/>
      <category value="NO_DATA" symbol="1" label="NO_DATA: too few valid pixels in common" render="true"/>
      <category value="MASKED" symbol="2" label="MASKED: excluded by the mask given as where" render="true"/>
      <category value="OUTSIDE" symbol="3" label="OUTSIDE: outside the overlap of the two images" render="true"/>
      <category value="FLAT" symbol="4" label="FLAT: no texture to match" render="true"/>
      <category value="UNCONSTRAINED" symbol="5" label="UNCONSTRAINED: the texture leaves the shift undetermined in one direction" render="true"/>
      <category value="NO_PEAK" symbol="6" label="NO_PEAK: no shift makes the images correlate above chance" render="true"/>
      <category value="AMBIGUOUS" symbol="7" label="AMBIGUOUS: a second shift fits nearly as well (repetitive pattern)" render="true"/>
      <category value="TOO_FAR" symbol="8" label="TOO_FAR: the best shift is beyond max_shift" render="true"/>
      <category value="NOT_CONVERGED" symbol="9" label="NOT_CONVERGED: the sub-pixel refinement did not converge" render="true"/>
      <category value="DISAGREES" symbol="10" label="DISAGREES: two ways of measuring the shift disagree" render="true"/>
      <category value="NOT_IMPROVED" symbol="11" label="NOT_IMPROVED: the images are not more alike after the shift than before" render="true"/>
      <category value="OUTLIER" symbol="12" label="OUTLIER: the shift contradicts that of the other windows" render="true"/>
      <category value="DISCONNECTED" symbol="13" label="DISCONNECTED: no chain of matched pairs leads to the other dates" render="true"/>
    </categories>
    <symbols>
      <symbol type="marker" name="0" alpha="1" clip_to_extent="1" force_rhr="0">
        <layer class="VectorField" enabled="1" locked="0" pass="1">
          <prop k="x_attribute" v="dx"/><prop k="y_attribute" v="dy"/><prop k="vector_field_type" v="0"/><prop k="scale" v="50"/><prop k="distance_unit" v="MapUnit"/>
          <symbol type="line" name="@0@0" alpha="1" clip_to_extent="1" force_rhr="0">
            <layer class="ArrowLine" enabled="1" locked="0" pass="0">
              <prop k="is_curved" v="0"/><prop k="arrow_width" v="0.5"/><prop k="arrow_start_width" v="0.5"/>
              <prop k="head_length" v="1.6"/><prop k="head_thickness" v="1.1"/>
              <symbol type="fill" name="@@0@0@0" alpha="1" clip_to_extent="1" force_rhr="0">
                <layer class="SimpleFill" enabled="1" locked="0" pass="0">
                  <prop k="color" v="0,114,178,255"/><prop k="outline_style" v="no"/>
                </layer>
              </symbol>
            </layer>
          </symbol>
        </layer>
        <layer class="SimpleMarker" enabled="1" locked="0" pass="0">
          <prop k="name" v="circle"/><prop k="angle" v="0"/><prop k="color" v="0,114,178,255"/>
          <prop k="outline_color" v="40,40,40,255"/><prop k="outline_width" v="0.2"/><prop k="size" v="2.4"/><prop k="size_unit" v="MM"/>
        </layer>
      </symbol>
      <symbol type="marker" name="1" alpha="1" clip_to_extent="1" force_rhr="0">
        <layer class="SimpleMarker" enabled="1" locked="0" pass="0">
          <prop k="name" v="square"/><prop k="angle" v="0"/><prop k="color" v="184,184,184,255"/>
          <prop k="outline_color" v="40,40,40,255"/><prop k="outline_width" v="0.2"/><prop k="size" v="2.4"/><prop k="size_unit" v="MM"/>
        </layer>
      </symbol>
      <symbol type="marker" name="2" alpha="1" clip_to_extent="1" force_rhr="0">
        <layer class="SimpleMarker" enabled="1" locked="0" pass="0">
          <prop k="name" v="diamond"/><prop k="angle" v="0"/><prop k="color" v="143,143,143,255"/>
          <prop k="outline_color" v="40,40,40,255"/><prop k="outline_width" v="0.2"/><prop k="size" v="2.4"/><prop k="size_unit" v="MM"/>
        </layer>
      </symbol>
      <symbol type="marker" name="3" alpha="1" clip_to_extent="1" force_rhr="0">
        <layer class="SimpleMarker" enabled="1" locked="0" pass="0">
          <prop k="name" v="square"/><prop k="angle" v="0"/><prop k="color" v="221,221,221,255"/>
          <prop k="outline_color" v="40,40,40,255"/><prop k="outline_width" v="0.2"/><prop k="size" v="2.4"/><prop k="size_unit" v="MM"/>
        </layer>
      </symbol>
      <symbol type="marker" name="4" alpha="1" clip_to_extent="1" force_rhr="0">
        <layer class="SimpleMarker" enabled="1" locked="0" pass="0">
          <prop k="name" v="triangle"/><prop k="angle" v="0"/><prop k="color" v="240,228,66,255"/>
          <prop k="outline_color" v="40,40,40,255"/><prop k="outline_width" v="0.2"/><prop k="size" v="2.4"/><prop k="size_unit" v="MM"/>
        </layer>
      </symbol>
      <symbol type="marker" name="5" alpha="1" clip_to_extent="1" force_rhr="0">
        <layer class="SimpleMarker" enabled="1" locked="0" pass="0">
          <prop k="name" v="triangle"/><prop k="angle" v="180"/><prop k="color" v="216,198,42,255"/>
          <prop k="outline_color" v="40,40,40,255"/><prop k="outline_width" v="0.2"/><prop k="size" v="2.4"/><prop k="size_unit" v="MM"/>
        </layer>
      </symbol>
      <symbol type="marker" name="6" alpha="1" clip_to_extent="1" force_rhr="0">
        <layer class="SimpleMarker" enabled="1" locked="0" pass="0">
          <prop k="name" v="cross2"/><prop k="angle" v="0"/><prop k="color" v="213,94,0,255"/>
          <prop k="outline_color" v="40,40,40,255"/><prop k="outline_width" v="0.2"/><prop k="size" v="2.4"/><prop k="size_unit" v="MM"/>
        </layer>
      </symbol>
      <symbol type="marker" name="7" alpha="1" clip_to_extent="1" force_rhr="0">
        <layer class="SimpleMarker" enabled="1" locked="0" pass="0">
          <prop k="name" v="cross_fill"/><prop k="angle" v="0"/><prop k="color" v="230,159,0,255"/>
          <prop k="outline_color" v="40,40,40,255"/><prop k="outline_width" v="0.2"/><prop k="size" v="2.4"/><prop k="size_unit" v="MM"/>
        </layer>
      </symbol>
      <symbol type="marker" name="8" alpha="1" clip_to_extent="1" force_rhr="0">
        <layer class="SimpleMarker" enabled="1" locked="0" pass="0">
          <prop k="name" v="triangle"/><prop k="angle" v="90"/><prop k="color" v="242,166,90,255"/>
          <prop k="outline_color" v="40,40,40,255"/><prop k="outline_width" v="0.2"/><prop k="size" v="2.4"/><prop k="size_unit" v="MM"/>
        </layer>
      </symbol>
      <symbol type="marker" name="9" alpha="1" clip_to_extent="1" force_rhr="0">
        <layer class="SimpleMarker" enabled="1" locked="0" pass="0">
          <prop k="name" v="triangle"/><prop k="angle" v="270"/><prop k="color" v="168,84,0,255"/>
          <prop k="outline_color" v="40,40,40,255"/><prop k="outline_width" v="0.2"/><prop k="size" v="2.4"/><prop k="size_unit" v="MM"/>
        </layer>
      </symbol>
      <symbol type="marker" name="10" alpha="1" clip_to_extent="1" force_rhr="0">
        <layer class="SimpleMarker" enabled="1" locked="0" pass="0">
          <prop k="name" v="diamond"/><prop k="angle" v="0"/><prop k="color" v="123,97,181,255"/>
          <prop k="outline_color" v="40,40,40,255"/><prop k="outline_width" v="0.2"/><prop k="size" v="2.4"/><prop k="size_unit" v="MM"/>
        </layer>
      </symbol>
      <symbol type="marker" name="11" alpha="1" clip_to_extent="1" force_rhr="0">
        <layer class="SimpleMarker" enabled="1" locked="0" pass="0">
          <prop k="name" v="hexagon"/><prop k="angle" v="0"/><prop k="color" v="204,121,167,255"/>
          <prop k="outline_color" v="40,40,40,255"/><prop k="outline_width" v="0.2"/><prop k="size" v="2.4"/><prop k="size_unit" v="MM"/>
        </layer>
      </symbol>
      <symbol type="marker" name="12" alpha="1" clip_to_extent="1" force_rhr="0">
        <layer class="SimpleMarker" enabled="1" locked="0" pass="0">
          <prop k="name" v="cross2"/><prop k="angle" v="0"/><prop k="color" v="179,18,63,255"/>
          <prop k="outline_color" v="40,40,40,255"/><prop k="outline_width" v="0.2"/><prop k="size" v="2.4"/><prop k="size_unit" v="MM"/>
        </layer>
      </symbol>
      <symbol type="marker" name="13" alpha="1" clip_to_extent="1" force_rhr="0">
        <layer class="SimpleMarker" enabled="1" locked="0" pass="0">
          <prop k="name" v="cross2"/><prop k="angle" v="0"/><prop k="color" v="86,180,233,255"/>
          <prop k="outline_color" v="40,40,40,255"/><prop k="outline_width" v="0.2"/><prop k="size" v="2.4"/><prop k="size_unit" v="MM"/>
        </layer>
      </symbol>
    </symbols>
  </renderer-v2>
</qgis>
